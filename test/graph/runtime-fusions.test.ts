import { describe, expect, it } from 'vitest'
import { importModel } from '#signstep/graph/index.js'
import type { OnnxNode } from '#signstep/onnx/index.js'
import { float32Tensor, type Tensor } from '#signstep/tensor/index.js'
import { floats, index, ints, node, onnxModel } from './onnx-model.js'
import { difference, randomArray, runGraph } from './run-graph.js'

const fused = (op: string, inputs: string, outputs: string, attributes: OnnxNode['attributes'] = {}): OnnxNode => ({
  ...node(op, inputs, outputs, attributes),
  domain: 'com.microsoft',
})

/** Tokens [N,4,12] of the image [N,3,4,4], and logits [N,5] of the value `out` [N,…] behind what is tested. */
const tokens = node('Reshape', 'x tokenShape', 't')
const head = (features: number): [OnnxNode[], Record<string, Tensor>] => [
  [node('Flatten', 'out', 'flat', { axis: 1 }), node('MatMul', 'flat head', 'y')],
  { head: floats([features, 5], 9), tokenShape: ints(0, 4, 12) },
]

/** The difference between a fused node and what it stands for. */
function compare(
  one: readonly OnnxNode[],
  other: readonly OnnxNode[],
  features: number,
  initialisers: Record<string, Tensor> = {},
): number {
  const [after, own] = head(features)
  const [a, b] = [one, other].map((nodes) =>
    importModel(onnxModel([tokens, ...nodes, ...after], { initialisers: { ...own, ...initialisers } })),
  )
  const x = randomArray([2, 3, 4, 4], 3)
  return difference(runGraph(b.graph, [x])[0], runGraph(a.graph, [x])[0])
}

const same = 1e-6
const vector = (seed: number) => floats([12], seed)

describe("a fusion of ONNX Runtime's optimiser is what it stands for", () => {
  it('FusedMatMul: transposed operands and a factor', () => {
    const one = [fused('FusedMatMul', 't t', 'out', { transB: 1, alpha: 0.25 })]
    const other = [
      node('Transpose', 't', 'tt', { perm: [0, 2, 1] }),
      node('MatMul', 't tt', 'scores'),
      node('Mul', 'scores quarter', 'out'),
    ]
    expect(compare(one, other, 16, { quarter: float32Tensor([], [0.25]) })).toBeLessThan(same)
  })

  it('FusedMatMul with transBatchA: the first axis goes to the place before the last', () => {
    const one = [
      node('Transpose', 't', 'turned', { perm: [1, 0, 2] }),
      fused('FusedMatMul', 'turned w', 'out', { transBatchA: 1 }),
    ]
    expect(compare(one, [node('MatMul', 't w', 'out')], 12, { w: floats([12, 3]) })).toBeLessThan(same)
  })

  it.each([
    ['Relu', {}, {}],
    ['LeakyRelu', { activation_alpha: 0.2 }, { alpha: 0.2 }],
    ['HardSigmoid', { activation_alpha: 0.3, activation_beta: 0.4 }, { alpha: 0.3, beta: 0.4 }],
  ])('FusedGemm with %s', (activation, parameters, attributes) => {
    const flat = node('Flatten', 'x', 'f', { axis: 1 })
    const initialisers = { w: floats([7, 48]), c: floats([7], 2) }
    const one = [flat, fused('FusedGemm', 'f w c', 'out', { transB: 1, alpha: 0.5, activation, ...parameters })]
    const other = [
      flat,
      node('Gemm', 'f w c', 'g', { transB: 1, alpha: 0.5 }),
      node(activation, 'g', 'out', attributes),
    ]
    expect(compare(one, other, 7, initialisers)).toBeLessThan(same)
  })

  it('FusedConv: the residual comes before the activation', () => {
    const initialisers = { w: floats([3, 3, 3, 3]), c: floats([3], 2) }
    const pads = { pads: [1, 1, 1, 1] }
    const one = [fused('FusedConv', 'x w c x', 'out', { ...pads, activation: 'Relu' })]
    const other = [node('Conv', 'x w c', 'conv', pads), node('Add', 'conv x', 'sum'), node('Relu', 'sum', 'out')]
    expect(compare(one, other, 48, initialisers)).toBeLessThan(same)
  })

  it('FusedConv with Clip takes both bounds from its parameters', () => {
    const initialisers = { w: floats([3, 3, 1, 1]), low: float32Tensor([], [-0.1]), high: float32Tensor([], [0.2]) }
    const one = [fused('FusedConv', 'x w', 'out', { activation: 'Clip', activation_params: [-0.1, 0.2] })]
    const other = [node('Conv', 'x w', 'conv'), node('Clip', 'conv low high', 'out')]
    expect(compare(one, other, 48, initialisers)).toBeLessThan(same)
  })

  it('the GELUs: erf, with a bias, tanh, sigmoid, split', () => {
    const initialisers = { bias: vector(2), bias2: floats([12], 4), k: float32Tensor([], [1.702]) }
    const added = node('Add', 't bias', 'a')
    expect(compare([fused('Gelu', 't', 'out')], [node('Gelu', 't', 'out')], 48)).toBeLessThan(same)
    expect(
      compare([fused('BiasGelu', 't bias', 'out')], [added, node('Gelu', 'a', 'out')], 48, initialisers),
    ).toBeLessThan(same)
    const tanh = [added, node('Gelu', 'a', 'out', { approximate: 'tanh' })]
    expect(compare([fused('FastGelu', 't bias', 'out')], tanh, 48, initialisers)).toBeLessThan(same)
    const quick = [node('Mul', 't k', 'kt'), node('Sigmoid', 'kt', 's'), node('Mul', 't s', 'out')]
    expect(compare([fused('QuickGelu', 't', 'out')], quick, 48, initialisers)).toBeLessThan(same)
    const split = [
      added,
      node('Split', 'a', 'l r', { axis: 2, num_outputs: 2 }),
      node('Gelu', 'r', 'g'),
      node('Mul', 'l g', 'out'),
    ]
    expect(compare([fused('BiasSplitGelu', 't bias', 'out')], split, 24, initialisers)).toBeLessThan(same)
  })

  it('SkipLayerNormalization: both of its results', () => {
    const initialisers = { g: vector(2), b: vector(3), bias: vector(4) }
    const one = [
      fused('SkipLayerNormalization', 't t g b bias', 'normal - - sum', { epsilon: 1e-3 }),
      node('Add', 'normal sum', 'out'),
    ]
    const other = [
      node('Add', 't t', 'twice'),
      node('Add', 'twice bias', 'sum'),
      node('LayerNormalization', 'sum g b', 'normal', { axis: -1, epsilon: 1e-3 }),
      node('Add', 'normal sum', 'out'),
    ]
    expect(compare(one, other, 48, initialisers)).toBeLessThan(same)
  })

  it('SimplifiedLayerNormalization, which ONNX Runtime writes without a domain, and its sum with a skip', () => {
    const initialisers = { g: vector(2) }
    const rms = (x: string) => node('RMSNormalization', `${x} g`, 'out', { axis: -1, epsilon: 1e-4 })
    const plain = node('SimplifiedLayerNormalization', 't g', 'out', { axis: -1, epsilon: 1e-4 })
    expect(compare([plain], [rms('t')], 48, initialisers)).toBeLessThan(same)
    const skip = fused('SkipSimplifiedLayerNormalization', 't t g', 'out', { epsilon: 1e-4 })
    expect(compare([skip], [node('Add', 't t', 's'), rms('s')], 48, initialisers)).toBeLessThan(same)
  })

  it('GroupNorm over channels last with SiLU', () => {
    const initialisers = { g: floats([12], 2), b: floats([12], 3), shape: ints(0, 2, 2, 12) }
    const one = [
      node('Reshape', 't shape', 'image'),
      fused('GroupNorm', 'image g b', 'out', { groups: 3, activation: 1, epsilon: 1e-4 }),
    ]
    const other = [
      node('Reshape', 't shape', 'image'),
      node('Transpose', 'image', 'first', { perm: [0, 3, 1, 2] }),
      node('GroupNormalization', 'first g b', 'n', { num_groups: 3, epsilon: 1e-4 }),
      node('Transpose', 'n', 'last', { perm: [0, 2, 3, 1] }),
      node('Sigmoid', 'last', 's'),
      node('Mul', 'last s', 'out'),
    ]
    expect(compare(one, other, 48, initialisers)).toBeLessThan(same)
  })

  const attention = (q: string, k: string, v: string, scores = 'scaled') => [
    ...[q, k, v].flatMap((part) => [
      node('Reshape', `${part} heads`, `${part}4`),
      node('Transpose', `${part}4`, `${part}h`, { perm: [0, 2, 1, 3] }),
    ]),
    node('Transpose', `${k}h`, 'kt', { perm: [0, 1, 3, 2] }),
    node('MatMul', `${q}h kt`, 'scores'),
    node('Mul', 'scores scale', 'scaled'),
    node('Softmax', scores, 'weights', { axis: -1 }),
    node('MatMul', `weights ${v}h`, 'mixed'),
    node('Transpose', 'mixed', 'back', { perm: [0, 2, 1, 3] }),
    node('Reshape', 'back together', 'out'),
  ]
  const parts = {
    heads: ints(0, 4, 3, 4),
    together: ints(0, 4, 12),
    scale: float32Tensor([], [0.5]),
    bias3: floats([36], 7),
    mask: floats([1, 1, 4, 4], 8),
  }

  it('Attention: projections of the input, with a bias on the scores', () => {
    const initialisers = { ...parts, w: floats([12, 36], 6) }
    const project = [
      node('MatMul', 't w', 'p'),
      node('Add', 'p bias3', 'pb'),
      node('Split', 'pb', 'q k v', { axis: 2, num_outputs: 3 }),
    ]
    const one = [fused('Attention', 't w bias3', 'out', { num_heads: 3 })]
    expect(compare(one, [...project, ...attention('q', 'k', 'v')], 48, initialisers)).toBeLessThan(same)
    const [before, after] = [
      attention('q', 'k', 'v', 'masked').slice(0, 9),
      attention('q', 'k', 'v', 'masked').slice(9),
    ]
    const masked = [...project, ...before, node('Add', 'scaled mask', 'masked'), ...after]
    const biased = [fused('Attention', 't w bias3 - - mask', 'out', { num_heads: 3 })]
    expect(compare(biased, masked, 48, initialisers)).toBeLessThan(same)
  })

  it('MultiHeadAttention: apart, with a bias on each part, and packed', () => {
    const wide = { ...parts, qb: vector(10), kb: vector(11), vb: vector(12) }
    const bias3 = float32Tensor(
      [36],
      [wide.qb, wide.kb, wide.vb].flatMap(({ data }) => Array.from(data as Float32Array)),
    )
    const initialisers = { ...wide, bias3 }
    const biased = ['q', 'k', 'v'].map((part) => node('Add', `t ${part}b`, part))
    const one = [fused('MultiHeadAttention', 't t t bias3', 'out', { num_heads: 3, scale: 0.5 })]
    expect(compare(one, [...biased, ...attention('q', 'k', 'v')], 48, initialisers)).toBeLessThan(same)

    const packed = { ...parts, w: floats([12, 36], 6), packedShape: ints(0, 4, 3, 3, 4), first: ints(0) }
    const rows = [node('MatMul', 't w', 'p'), node('Reshape', 'p packedShape', 'qkv')]
    const pick = ['q', 'k', 'v'].flatMap((part, i) => [node('Gather', `qkv place${i}`, part, { axis: 3 })])
    const places = { place0: index(0), place1: index(1), place2: index(2) }
    const whole = [...rows, fused('MultiHeadAttention', 'qkv', 'out', { num_heads: 3 })]
    expect(compare(whole, [...rows, ...pick, ...attention('q', 'k', 'v')], 48, { ...packed, ...places })).toBeLessThan(
      same,
    )
  })

  it('refuses what it does not read by the name of the node', () => {
    const refusal = (nodes: readonly OnnxNode[], initialisers: Record<string, Tensor> = {}) => {
      const [after, own] = head(48)
      const model = onnxModel([tokens, ...nodes, ...after], { initialisers: { ...own, ...initialisers } })
      return expect(() => importModel(model, { file: 'm.onnx' }))
    }
    const past = { w: floats([12, 36]), b: floats([36]), past: floats([2, 1, 3, 1, 4]) }
    refusal([fused('Attention', 't w b - past', 'out', { num_heads: 3 })], past).toThrow(
      /m\.onnx: node Attention_out: attention with a mask or a past is not read; expected no input 4/,
    )
    refusal([fused('FusedConv', 'x w', 'out', { activation: 'Mish' })], { w: floats([3, 3, 1, 1]) }).toThrow(
      'the fused activation Mish',
    )
    refusal([fused('NoSuchFusion', 't', 'out')]).toThrow(/NoSuchFusion of domain com\.microsoft is not known/)
    refusal([{ ...node('Conv', 'x w', 'out'), domain: 'com.microsoft.nchwc' }], { w: floats([3, 3, 1, 1]) }).toThrow(
      'ORT_ENABLE_EXTENDED',
    )
  })
})
