import { describe, expect, it } from 'vitest'
import { Graph, GraphBuilder, N, type Value } from '#signstep/graph/index.js'
import { inspectModel, renderInspect } from '#signstep/inspect/index.js'
import { float32Tensor } from '#signstep/tensor/index.js'

const parameter = (b: GraphBuilder, name: string, shape: readonly number[]): Value =>
  b.parameter(float32Tensor(shape, new Float32Array(shape.reduce((a, n) => a * n, 1)).fill(0.1)), name)

/** A few convolution blocks and a classifier, as imported from a file of one Conv more. */
function subject(finish: (b: GraphBuilder, logits: Value) => Value[] = (_, logits) => [logits]) {
  const b = new GraphBuilder(new Graph('net'))
  let x = b.input('images', 'float32', [N, 3, 8, 8])
  for (let i = 0; i < 3; i++) {
    const channels = i === 0 ? 3 : 4
    const conv = b.emit('Conv', [x, parameter(b, `w${i}`, [4, channels, 3, 3])], { pads: [1, 1, 1, 1] })
    x = b.emit('Relu', [conv])
  }
  const pooled = b.emit('Flatten', [b.emit('GlobalAveragePool', [x])], { axis: 1 })
  const logits = b.emit('Gemm', [pooled, parameter(b, 'head', [4, 10])])
  b.graph.outputs.push(...finish(b, logits))
  const nodes = b.graph.nodes.map(({ op }) => ({ op, name: '', domain: '', inputs: [], outputs: [], attributes: {} }))
  return {
    file: 'net.onnx',
    model: {
      producer: 'pytorch 2.15.0',
      opset: 17,
      irVersion: 8,
      graph: { name: 'net', inputs: [], outputs: [], initialisers: new Map(), nodes },
    },
    graph: b.graph,
  }
}

describe('inspecting a model', () => {
  it('tells where it comes from, what it takes and what it costs', () => {
    const result = inspectModel(subject())
    expect(result).toMatchObject({
      file: 'net.onnx',
      producer: 'pytorch 2.15.0',
      opset: 17,
      irVersion: 8,
      input: { name: 'images', dtype: 'float32', shape: ['N', 3, 8, 8] },
      classes: 10,
      notes: [],
      unrecognised: [],
    })
    expect(result.operators).toMatchObject({ Conv: 3, Relu: 3, Gemm: 1 })
    expect(result.totals.parameters).toBe(4 * 3 * 9 + 2 * 4 * 4 * 9 + 40)
    const sum = result.blocks.reduce((flops, block) => flops + block.flops, 0)
    expect(result.totals.flops).toBe(sum)
  })

  it('gives plain data: JSON and back is the same', () => {
    const result = inspectModel(subject())
    expect(JSON.parse(JSON.stringify(result))).toEqual(result)
  })

  it('warns of probabilities in place of logits', () => {
    const result = inspectModel(subject((b, logits) => [b.emit('Softmax', [logits], { axis: -1 })]))
    expect(result.notes.join()).toMatch(/ends in Softmax/)
  })

  it('names further outputs', () => {
    const result = inspectModel(subject((b, logits) => [logits, b.emit('Tanh', [logits])]))
    expect(result.notes.join()).toMatch(/2 outputs/)
  })

  it('passes on what the import had to say', () => {
    expect(inspectModel({ ...subject(), notes: ['exported for a batch of 4'] }).notes).toEqual([
      'exported for a batch of 4',
    ])
  })
})

describe('the inspection as text', () => {
  it('fits a terminal and collapses what repeats', () => {
    const text = renderInspect(inspectModel(subject()))
    expect(Math.max(...text.split('\n').map((line) => line.length))).toBeLessThanOrEqual(100)
    expect(text).toMatch(/^net\.onnx\n/)
    expect(text).toMatch(/convolution: 3x3, 3 -> 4, relu/)
    expect(text).toMatch(/2 x convolution: 3x3, 4 -> 4, relu/)
    expect(text).toMatch(/classifier: classes 10, features 4, from average/)
    expect(text).toMatch(/every node on the way of the image is part of a known block/)
    expect(text.endsWith('\n')).toBe(true)
  })

  it('lists what was not recognised', () => {
    const strange = subject((b, logits) => [b.emit('Sin', [logits])])
    expect(renderInspect(inspectModel(strange))).toMatch(/not recognised \(runs all the same\): Sin 1/)
  })

  it('cuts names that are too long', () => {
    const long = { ...subject(), notes: ['x'.repeat(250)] }
    const lines = renderInspect(inspectModel(long)).split('\n')
    expect(Math.max(...lines.map((line) => line.length))).toBeLessThanOrEqual(100)
  })
})
