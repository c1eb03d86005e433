import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { exportModel, Graph, GraphBuilder, N } from '#signstep/graph/index.js'
import { gradient, inspect, loadModel } from '#signstep/index.js'
import { type OnnxModel, type OnnxNode, readModel, writeModel } from '#signstep/onnx/index.js'
import { float32Tensor } from '#signstep/tensor/index.js'
import { demo, scratch } from '../support/cli.js'
import { linearModel, modelFile } from '../support/linear-model.js'

async function saved(model: OnnxModel): Promise<string> {
  const path = join(scratch(), 'm.onnx')
  await writeModel(path, model)
  return path
}

/** The demo ResNet with another input shape written into the file. */
async function withInput(shape: readonly (number | string)[], name = 'resnet.onnx'): Promise<string> {
  const model = await readModel(demo(name))
  return saved({ ...model, graph: { ...model.graph, inputs: [{ ...model.graph.inputs[0], shape }] } })
}

/** The demo ViT with something done to its file. */
const edited = async (edit: (model: OnnxModel) => OnnxModel): Promise<string> =>
  saved(edit(await readModel(demo('vit.onnx'))))

const identity = (op: string, input: string, output: string): OnnxNode => ({
  name: op,
  op,
  domain: '',
  inputs: [input],
  outputs: [output],
  attributes: {},
})

const renamed = (node: OnnxNode, from: string, to: string): OnnxNode => ({
  ...node,
  inputs: node.inputs.map((name) => (name === from ? to : name)),
})

const noise = (count: number): Float32Array =>
  Float32Array.from({ length: count * 3072 }, (_, i) => ((i * 37) % 101) / 101)

const largestDifference = (a: Float32Array, b: Float32Array): number =>
  a.length === b.length ? a.reduce((most, value, i) => Math.max(most, Math.abs(value - b[i])), 0) : Number.NaN

describe('loadModel', () => {
  it('makes a fixed batch free and gives the same logits', async () => {
    await using free = await loadModel(demo('vit.onnx'))
    await using fixed = await loadModel(await withInput([1, 3, 32, 32], 'vit.onnx'))
    expect(fixed.notes.join()).toContain('fixes its batch at 1')
    const images = Float32Array.from({ length: 5 * 3072 }, (_, i) => ((i * 37) % 101) / 101)
    const [a, b] = [await free.logits(images), await fixed.logits(images)]
    for (const [i, value] of a.entries()) expect(b[i]).toBeCloseTo(value, 4)
  })

  it('asks for the size of a model that leaves it open, and takes it', async () => {
    const open = await withInput(['N', 3, 'H', 'W'])
    await expect(loadModel(open)).rejects.toMatchObject({
      code: 'MODEL_UNSUPPORTED',
      message: expect.stringContaining('--input-size'),
    })
    await using model = await loadModel(open, { inputSize: [40, 24] })
    expect(model.imageShape).toEqual([3, 40, 24])
  })

  it.each([
    ['too many channels to be an image', ['N', 32, 32, 32], /fixed number of channels/],
    ['a batch of vectors', ['N', 3072], /\[N,C,H,W\]/],
  ])('refuses %s', async (_name, shape, words) => {
    await expect(loadModel(await withInput(shape))).rejects.toThrow(words)
  })

  it.each(['N', 1])('takes channels last, turned on their way in (batch %s)', async (batch) => {
    const turn = { ...identity('Transpose', 'last', 'images'), attributes: { perm: [0, 3, 1, 2] } }
    const path = await edited(({ graph, ...rest }) => ({
      ...rest,
      graph: {
        ...graph,
        inputs: [{ name: 'last', dtype: 'float32', shape: [batch, 32, 32, 3] }],
        nodes: [turn, ...graph.nodes.map((n) => renamed(n, graph.inputs[0].name, 'images'))],
      },
    }))
    await using first = await loadModel(demo('vit.onnx'))
    await using last = await loadModel(path)
    expect(last.imageShape).toEqual([3, 32, 32])
    expect(last.notes.join()).toContain('channels last')
    const images = noise(2)
    expect(largestDifference(await last.logits(images), await first.logits(images))).toBeLessThan(1e-5)
  })

  it.each(['N', 1])('takes the softmax at the end off (batch %s)', async (batch) => {
    const path = await edited(({ graph, ...rest }) => ({
      ...rest,
      graph: {
        ...graph,
        inputs: [{ ...graph.inputs[0], shape: [batch, 3, 32, 32] }],
        outputs: [{ name: 'probabilities', dtype: 'float32', shape: [batch, 10] }],
        nodes: [...graph.nodes, identity('Softmax', graph.outputs[0].name, 'probabilities')],
      },
    }))
    await using plain = await loadModel(demo('vit.onnx'))
    await using model = await loadModel(path)
    expect(model.notes.join()).toContain('the softmax was taken off')
    const images = noise(2)
    expect(largestDifference(await model.logits(images), await plain.logits(images))).toBeLessThan(1e-5)
  })

  it('takes the output that is named, and lists them where there is none of that name', async () => {
    const path = await edited(({ graph, ...rest }) => ({
      ...rest,
      graph: {
        ...graph,
        outputs: [...graph.outputs, { name: 'opposite', dtype: 'float32', shape: ['N', 10] }],
        nodes: [...graph.nodes, identity('Neg', graph.outputs[0].name, 'opposite')],
      },
    }))
    await using usual = await loadModel(path)
    await using model = await loadModel(path, { logits: 'opposite' })
    const images = noise(1)
    const [a, b] = [await usual.logits(images), await model.logits(images)]
    expect(
      largestDifference(
        b.map((v) => -v),
        a,
      ),
    ).toBeLessThan(1e-5)
    await expect(loadModel(path, { logits: 'opposit' })).rejects.toThrow(/--logits.*opposite.*Did you mean opposite/s)
    await expect(loadModel(path, { logits: 'input' })).rejects.toMatchObject({ code: 'OPTION_INVALID' })
  })

  it('refuses another size than the file fixes', () =>
    expect(loadModel(demo('vit.onnx'), { inputSize: [64, 64] })).rejects.toMatchObject({ code: 'OPTION_INVALID' }))
  it('refuses an unknown option with the nearest one', () =>
    expect(loadModel(demo('vit.onnx'), { means: [0] } as never)).rejects.toThrow(/mean\?/))

  it.each([
    ['no threads', { threads: 0 }, /threads.*whole number/],
    ['half an image a pass', { batch: 2.5 }, /batch.*whole number/],
    ['a channel order that does not exist', { channelOrder: 'rbg' }, /Did you mean rgb/],
    ['a mean that is no number', { mean: [Number.NaN, 0, 0] }, /mean.*finite/],
    ['a size of one number', { inputSize: 32 }, /inputSize.*height and width/],
  ])('refuses %s', async (_name, options, words) => {
    const call = loadModel(demo('vit.onnx'), options as never)
    await expect(call).rejects.toMatchObject({ code: 'OPTION_INVALID' })
    await expect(call).rejects.toThrow(words)
  })

  it('names a weight that is not finite', async () => {
    const path = await linearModel(
      [1, 1, 2],
      [
        [1, Number.NaN],
        [0, 1],
      ],
    )
    await expect(loadModel(path)).rejects.toMatchObject({ code: 'NUMERIC', message: expect.stringContaining('weight') })
  })

  it('says when logits are NaN', async () => {
    await using model = await loadModel(await modelFile([1, 1, 2], (b, x) => b.log(b.sub(b.reshape(x, [N, 2]), 2))))
    await expect(model.predict(Float32Array.of(0.5, 0.5))).rejects.toMatchObject({ code: 'NUMERIC' })
  })

  it('names an operator without a gradient rule, and the node', async () => {
    const model = await readModel(
      await linearModel(
        [1, 1, 2],
        [
          [1, 0],
          [0, 1],
        ],
      ),
    )
    const odd = { ...model.graph.nodes[0], op: 'Det', name: 'the_odd_one' }
    const path = await saved({ ...model, graph: { ...model.graph, nodes: [odd, ...model.graph.nodes.slice(1)] } })
    await expect(loadModel(path)).rejects.toMatchObject({
      code: 'OPERATOR_UNSUPPORTED',
      message: expect.stringContaining('the_odd_one'),
    })
  })

  it('refuses an operator of another domain', async () => {
    const model = await readModel(
      await linearModel(
        [1, 1, 2],
        [
          [1, 0],
          [0, 1],
        ],
      ),
    )
    const odd = { ...model.graph.nodes[0], domain: 'com.example' }
    await expect(
      loadModel(await saved({ ...model, graph: { ...model.graph, nodes: [odd, ...model.graph.nodes.slice(1)] } })),
    ).rejects.toThrow(/com\.example/)
  })

  it('takes the logits of several outputs and says so', async () => {
    const b = new GraphBuilder(new Graph('two'))
    const x = b.input('input', 'float32', [N, 1, 1, 3])
    const features = b.mul(b.reshape(x, [N, 3]), 2)
    const logits = b.matMul(features, b.parameter(float32Tensor([3, 2], [1, 0, 0, 1, 1, 1]), 'w'))
    features.name = 'features'
    logits.name = 'logits'
    b.graph.outputs.push(features, logits)
    await using model = await loadModel(await saved(exportModel(b.graph)))
    expect(model.classes).toBe(2)
    expect(model.notes.join()).toContain('logits')
  })
})

describe('gradient', () => {
  it('writes N as a symbol and standard operators only', async () => {
    const path = join(scratch(), 'g.onnx')
    const { outputs } = await gradient(demo('swin.onnx'), path, { parameters: /head/ })
    expect(outputs.slice(0, 3)).toEqual(['logits', 'loss', 'input_gradient'])
    expect(outputs.length).toBeGreaterThan(3)
    const { graph, opset } = await readModel(path)
    expect(opset).toBe(26)
    expect(graph.inputs.map(({ name, shape }) => `${name} ${shape?.[0]}`)).toEqual(['images N', 'labels N'])
    expect(graph.nodes.every(({ domain }) => domain === '')).toBe(true)
  })

  it('has a third input for a targeted loss', async () => {
    const path = join(scratch(), 'g.onnx')
    expect((await gradient(demo('vit.onnx'), path, { loss: 'dlr', targeted: true })).inputs).toEqual([
      'images',
      'labels',
      'targets',
    ])
  })

  it('has reference logits in place of labels for KL', async () => {
    const path = join(scratch(), 'kl.onnx')
    const { inputs } = await gradient(demo('vit.onnx'), path, { loss: 'kl' })
    expect(inputs).toEqual(['images', 'reference_logits'])
    await expect(gradient(demo('vit.onnx'), path, { loss: 'kl', targeted: true })).rejects.toMatchObject({
      code: 'OPTION_INVALID',
      message: expect.stringMatching(/no targeted form/),
    })
  })

  it('refuses options and losses that do not exist, with the nearest', async () => {
    const write = (options: object) => gradient(demo('vit.onnx'), join(scratch(), 'g.onnx'), options)
    await expect(write({ losss: 'dlr' })).rejects.toThrow(/Did you mean loss/)
    await expect(write({ loss: 'drl' })).rejects.toThrow(/Did you mean dlr/)
  })

  it('says when a pattern matches no initialiser', () =>
    expect(gradient(demo('vit.onnx'), join(scratch(), 'g.onnx'), { parameters: /nothing/ })).rejects.toMatchObject({
      code: 'OPTION_INVALID',
    }))
})

describe('inspect', () => {
  it('finds the blocks of the demo models', async () => {
    const kinds = async (name: string): Promise<string> => JSON.stringify((await inspect(demo(name))).blocks)
    expect(await kinds('vit.onnx')).toContain('transformer block')
    expect(await kinds('swin.onnx')).toContain('window attention')
    expect(await kinds('resnet.onnx')).toContain('residual block')
  })
})
