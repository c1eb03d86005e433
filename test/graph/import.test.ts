import { describe, expect, it } from 'vitest'
import { importModel, showShape } from '#signstep/graph/index.js'
import { type DType, float32Tensor, tensorFromNumbers } from '#signstep/tensor/index.js'
import { floats, index, ints, node, onnxModel } from './onnx-model.js'
import { difference, randomArray, runGraph } from './run-graph.js'

const classify = [node('Flatten', 'x', 'flat', { axis: 1 }), node('MatMul', 'flat weight', 'y')]
const weight = floats([48, 5])

describe('an imported model', () => {
  it('has N free, float32 throughout and its parameters under their own names, uncopied', () => {
    const { graph, logits, rebatched, notes } = importModel(onnxModel(classify, { initialisers: { weight } }))
    expect(showShape(graph.inputs[0].shape)).toBe('[N,3,4,4]')
    expect(showShape(graph.outputs[0].shape)).toBe('[N,5]')
    expect([logits, rebatched, notes]).toEqual(['y', undefined, []])
    const parameter = graph.nodes.flatMap(({ inputs }) => inputs).find((value) => value?.parameter)
    expect(parameter?.name).toBe('weight')
    expect(parameter?.constant?.data).toBe(weight.data)
  })

  it('loses the shape arithmetic TorchScript writes around a reshape', () => {
    const nodes = [
      node('Shape', 'x', 's'),
      node('Gather', 's zero', 'n', { axis: 0 }),
      node('Unsqueeze', 'n first', 'n1'),
      node('Concat', 'n1 rest', 'target', { axis: 0 }),
      node('Reshape', 'x target', 'flat'),
      node('MatMul', 'flat weight', 'y'),
    ]
    const initialisers = { weight, zero: index(0), first: ints(0), rest: ints(-1) }
    const { graph } = importModel(onnxModel(nodes, { initialisers }))
    expect(graph.nodes.map(({ op }) => op)).toEqual(['Reshape', 'MatMul'])
    expect(graph.nodes[0].inputs[1]?.constant?.data).toEqual(BigInt64Array.of(-1n, 48n))
  })

  it('reads a class token expanded to the batch from N alone', () => {
    const nodes = [
      node('Reshape', 'x tokens', 'rows'),
      node('Shape', 'rows', 's', { start: 0, end: 1 }),
      node('Concat', 's minus minus', 'wanted', { axis: 0 }),
      node('ConstantOfShape', 'three', 'ones', { value: ints(1) }),
      node('Mul', 'ones minus', 'negative'),
      node('Equal', 'wanted negative', 'keep'),
      node('Where', 'keep ones wanted', 'shape'),
      node('Expand', 'token shape', 'tokens_n'),
      node('Concat', 'tokens_n rows', 'all', { axis: 1 }),
      node('ReduceSum', 'all one', 'y', { keepdims: 0 }),
    ]
    const initialisers = {
      token: floats([1, 1, 16]),
      tokens: ints(0, 3, 16),
      minus: ints(-1),
      three: ints(3),
      one: ints(1),
    }
    const { graph } = importModel(onnxModel(nodes, { initialisers }))
    expect(graph.nodes.map(({ op }) => op).sort()).toEqual([
      'Concat',
      'Concat',
      'Expand',
      'ReduceSum',
      'Reshape',
      'Shape',
    ])
    const x = randomArray([2, 3, 4, 4])
    const expected = Float64Array.from({ length: 32 }, (_, i) => {
      const [sample, at] = [Math.floor(i / 16), i % 16]
      return (
        (initialisers.token.data[at] as number) +
        [0, 1, 2].reduce((sum, c) => sum + x.data[sample * 48 + c * 16 + at], 0)
      )
    })
    expect(difference(runGraph(graph, [x])[0], { dtype: 'float32', shape: [2, 16], data: expected })).toBeLessThan(1e-6)
  })

  it.each(['float16', 'bfloat16', 'float64'] as DType[])('computes %s in float32, without the casts', (dtype) => {
    const half = tensorFromNumbers(dtype, [48, 5], Array.from(weight.data as Float32Array))
    const nodes = [
      node('Flatten', 'x', 'flat', { axis: 1 }),
      node('Cast', 'flat', 'narrow', { to: dtype === 'float64' ? 11 : dtype === 'float16' ? 10 : 16 }),
      node('MatMul', 'narrow weight', 'out'),
      node('Cast', 'out', 'y', { to: 1 }),
    ]
    const { graph } = importModel(onnxModel(nodes, { dtype, initialisers: { weight: half } }))
    expect(graph.nodes.map(({ op }) => op)).toEqual(['Flatten', 'MatMul'])
    expect(graph.nodes.flatMap(({ outputs }) => outputs).every((value) => value.dtype === 'float32')).toBe(true)
    expect(graph.inputs[0].dtype).toBe('float32')
  })

  it('drops Dropout and Identity', () => {
    const nodes = [
      node('Identity', 'x', 'same'),
      node('Flatten', 'same', 'flat', { axis: 1 }),
      node('Dropout', 'flat', 'kept'),
      node('MatMul', 'kept weight', 'y'),
    ]
    const { graph } = importModel(onnxModel(nodes, { initialisers: { weight } }))
    expect(graph.nodes.map(({ op }) => op)).toEqual(['Flatten', 'MatMul'])
  })

  it('standardises weights in primitives, and refuses statistics of a batch of images', () => {
    const scale = float32Tensor([3], [1, 2, 3])
    const zero = float32Tensor([3], [0, 0, 0])
    const kernel = floats([1, 3, 16])
    const standardise = (x: string) => [
      node('BatchNormalization', `${x} scale zero zero scale`, 'standard mean variance', { training_mode: 1 }),
    ]
    const initialisers = { kernel, scale, zero, taps: ints(3, 1, 4, 4) }
    const nodes = [
      ...standardise('kernel'),
      node('Reshape', 'standard taps', 'filters'),
      node('Conv', 'x filters', 'y', { group: 3 }),
    ]
    const { graph } = importModel(onnxModel(nodes, { initialisers }))
    expect(graph.nodes.map(({ op }) => op)).not.toContain('BatchNormalization')
    const x = randomArray([2, 3, 4, 4])
    const expected = Float64Array.from({ length: 6 }, (_, i) => {
      const c = i % 3
      const row = Array.from(kernel.data as Float32Array).slice(c * 16, (c + 1) * 16)
      const mean = row.reduce((a, v) => a + v, 0) / 16
      const variance = row.reduce((a, v) => a + (v - mean) ** 2, 0) / 16
      return row.reduce((a, v, k) => a + (((v - mean) * (c + 1)) / Math.sqrt(variance + 1e-5)) * x.data[i * 16 + k], 0)
    })
    expect(difference(runGraph(graph, [x])[0], { dtype: 'float32', shape: [2, 3], data: expected })).toBeLessThan(1e-6)
    expect(() => importModel(onnxModel(standardise('x'), { initialisers, outputs: ['standard'] }))).toThrow(
      /mixes the samples of a batch.*model\.eval/,
    )
  })

  it('gives logits [N,classes] where the file leaves them [N,classes,1,1]', () => {
    const kernel = floats([5, 3, 4, 4])
    const { graph } = importModel(onnxModel([node('Conv', 'x kernel', 'y')], { initialisers: { kernel } }))
    expect(showShape(graph.outputs[0].shape)).toBe('[N,5]')
  })

  it('takes the output named logits of several and says so; takes a final Softmax off', () => {
    const nodes = [
      ...classify,
      node('Identity', 'flat', 'features'),
      node('Softmax', 'y', 'probabilities', { axis: -1 }),
    ]
    const named = nodes.map((n) => ({
      ...n,
      outputs: n.outputs.map((o) => (o === 'y' ? 'logits' : o)),
      inputs: n.inputs.map((o) => (o === 'y' ? 'logits' : o)),
    }))
    const several = importModel(onnxModel(named, { initialisers: { weight }, outputs: ['features', 'logits'] }))
    expect(several.logits).toBe('logits')
    expect(several.notes).toEqual(['of 2 outputs, logits was taken for the logits; --logits names another'])
    const soft = importModel(onnxModel(nodes, { initialisers: { weight }, outputs: ['probabilities'] }))
    expect(soft.notes.join()).toContain('the softmax was taken off')
    expect(soft.graph.nodes.map(({ op }) => op)).toEqual(['Flatten', 'MatMul'])
  })
})

describe('a model that is refused', () => {
  const refusal = (nodes: Parameters<typeof onnxModel>[0], parts: Parameters<typeof onnxModel>[1] = {}, options = {}) =>
    expect(() => importModel(onnxModel(nodes, { initialisers: { weight }, ...parts }), { file: 'm.onnx', ...options }))

  it('for its input: rank, channels, open sizes, a size it does not have', () => {
    refusal(classify, { input: ['N', 1, 8, 16, 16] }).toThrow(
      /m\.onnx: .*expected floats \[N,C,H,W\] or \[N,H,W,C\]; found .*\[N,1,8,16,16\]/,
    )
    refusal(classify, { input: ['N', 32, 32, 32] }).toThrow('channels')
    refusal(classify, { input: ['N', 3, 'h', 'w'] }).toThrow('--input-size')
    refusal(classify, {}, { inputSize: [8, 8] }).toThrow(/--input-size.*expected 4x4; found 8x8/)
    const open = onnxModel(classify, { input: ['N', 3, 'h', 'w'], initialisers: { weight } })
    expect(showShape(importModel(open, { inputSize: [4, 4] }).graph.inputs[0].shape)).toBe('[N,3,4,4]')
  })

  it('for an operator or a domain nobody knows, naming the node', () => {
    refusal([node('NoSuchOperator', 'x', 'y')]).toThrow(/m\.onnx: node NoSuchOperator_y: .*unknown operator/)
    refusal([{ ...node('NoSuchFusion', 'x', 'y'), domain: 'com.microsoft' }]).toThrow('com.microsoft')
  })

  it('for shapes that do not fit, naming the node', () => {
    refusal(classify, { initialisers: { weight: floats([47, 5]) } }).toThrow(
      /MatMul_y: MatMul: inner sizes differ; expected 48 rows/,
    )
  })

  it('for an output that is no batch of logits', () => {
    refusal([node('Relu', 'x', 'y')]).toThrow(/no output is a batch of logits.*found y \[N,3,4,4\]/)
  })

  it('for weights that are not finite', () => {
    const broken = float32Tensor([48, 5], new Array(240).fill(0).with(7, Number.NaN))
    refusal(classify, { initialisers: { weight: broken } }).toThrow(/NaN at element 7 of weight/)
    refusal(classify, { initialisers: { weight: broken } }).toThrow(expect.objectContaining({ code: 'NUMERIC' }))
  })
})
