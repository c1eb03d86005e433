import { describe, expect, it } from 'vitest'
import { differentiate } from '#signstep/autodiff/index.js'
import { exportModel, GraphBuilder, importModel } from '#signstep/graph/index.js'
import type { OnnxNode } from '#signstep/onnx/index.js'
import { float32Tensor, type Tensor, tensorFromNumbers } from '#signstep/tensor/index.js'
import { floats, node, onnxModel } from './onnx-model.js'
import { difference, randomArray, runGraph } from './run-graph.js'

const head = [node('Flatten', 'out', 'flat', { axis: 1 }), node('MatMul', 'flat weight', 'y')]
const weight = floats([48, 5])
const scalar = (value: number) => float32Tensor([], [value])
const int8 = (shape: number[], values: number[]) => tensorFromNumbers('int8', shape, values)
const uint8 = (shape: number[], values: number[]) => tensorFromNumbers('uint8', shape, values)
const x = randomArray([2, 3, 4, 4], 3)

const imported = (nodes: readonly OnnxNode[], initialisers: Record<string, Tensor>) =>
  importModel(onnxModel([...nodes, ...head], { initialisers: { weight, ...initialisers } }), { file: 'm.onnx' })

/** Halves go to the even number, as IEEE and ONNX have it. */
const round = (v: number): number => {
  const near = Math.round(v)
  return Math.abs(v % 1) === 0.5 && near % 2 !== 0 ? near - 1 : near
}
const step = (v: number, scale: number, zero: number, low: number, high: number): number =>
  (Math.min(high, Math.max(low, round(v / scale) + zero)) - zero) * scale
const through = (f: (v: number, channel: number) => number) =>
  runGraph(imported([node('Identity', 'x', 'out')], {}).graph, [
    { ...x, data: x.data.map((v, i) => f(v, Math.floor(i / 16) % 3)) },
  ])[0]

describe('a quantised model', () => {
  const pair = [node('QuantizeLinear', 'x s z', 'q'), node('DequantizeLinear', 'q s z', 'out')]

  it('computes with the numbers that are left of the image', () => {
    const { graph, notes } = imported(pair, { s: scalar(0.01), z: uint8([], [128]) })
    expect(
      difference(
        through((v) => step(v, 0.01, 128, 0, 255)),
        runGraph(graph, [x])[0],
      ),
    ).toBeLessThan(1e-6)
    expect(notes.join()).toContain('gradients pass 1 roundings by straight-through estimate')
  })

  it('has scales and zero points of each channel', () => {
    const [scales, zeros] = [
      [0.005, 0.01, 0.02],
      [-3, 0, 9],
    ]
    const nodes = pair.map((n) => ({ ...n, attributes: { axis: 1 } }))
    const { graph } = imported(nodes, { s: float32Tensor([3], scales), z: int8([3], zeros) })
    const expected = through((v, c) => step(v, scales[c], zeros[c], -128, 127))
    expect(difference(expected, runGraph(graph, [x])[0])).toBeLessThan(1e-6)
  })

  it('lets the gradient through the rounding, but not where the range ends', () => {
    const { graph } = imported(pair, { s: scalar(0.004), z: int8([], [0]) })
    const b = new GraphBuilder(graph)
    const [y] = graph.outputs
    const [gradient] = differentiate(b, new Map([[y, b.full(y.shape, 1)]]), graph.inputs)
    graph.outputs.push(gradient as typeof y)
    const found = runGraph(graph, [x])[1]
    const sums = Array.from({ length: 48 }, (_, i) =>
      Array.from(weight.data as Float32Array)
        .slice(i * 5, i * 5 + 5)
        .reduce((a, v) => a + v, 0),
    )
    const inside = (v: number) => round(v / 0.004) > -128 && round(v / 0.004) < 127
    const data = x.data.map((v, i) => (inside(v) ? sums[i % 48] : 0))
    expect(data.some((v) => v === 0) && data.some((v) => v !== 0)).toBe(true)
    expect(difference({ ...x, data }, found)).toBeLessThan(1e-6)
  })

  it('is written out in standard operators, without our marks', () => {
    const { graph } = imported(pair, { s: scalar(0.01), z: uint8([], [128]) })
    const written = exportModel(graph).graph.nodes
    expect(written.map(({ op }) => op)).toContain('Round')
    expect(written.flatMap(({ attributes }) => Object.keys(attributes)).filter((name) => name.includes('.'))).toEqual(
      [],
    )
  })

  it('has its weights dequantised while it is read', () => {
    const q = int8([3, 3, 1, 1], [10, -20, 30, 40, 50, -60, 70, 80, -90])
    const s = float32Tensor([3], [0.01, 0.02, 0.03])
    const nodes = [node('DequantizeLinear', 'q s', 'w', { axis: 0 }), node('Conv', 'x w', 'out')]
    const { graph, notes } = imported(nodes, { q, s })
    expect(graph.nodes.map(({ op }) => op)).toEqual(['Conv', 'Flatten', 'MatMul'])
    expect(Array.from(graph.nodes[0].inputs[1]?.constant?.data as Float32Array)).toEqual(
      Array.from(
        Float32Array.from(q.data as Int8Array, (v, i) => v * [0.01, 0.02, 0.03].map(Math.fround)[Math.floor(i / 3)]),
      ),
    )
    expect(notes.join()).not.toContain('quantised')
  })

  it('may be written in quantised operators: they are their parts', () => {
    const initialisers = {
      xs: scalar(0.01),
      xz: uint8([], [128]),
      w: int8([3, 3, 1, 1], [10, -20, 30, 40, 50, -60, 70, 80, -90]),
      ws: float32Tensor([3], [0.01, 0.02, 0.03]),
      wz: int8([3], [0, 0, 0]),
      ys: scalar(0.02),
      yz: uint8([], [100]),
      bias: tensorFromNumbers('int32', [3], [50, -60, 70]),
      bs: float32Tensor([3], [1e-4, 2e-4, 3e-4]),
    }
    const whole = [
      node('QuantizeLinear', 'x xs xz', 'q'),
      node('QLinearConv', 'q xs xz w ws wz ys yz bias', 'c'),
      { ...node('QLinearAdd', 'c ys yz q xs xz ys yz', 'sum'), domain: 'com.microsoft' },
      node('DequantizeLinear', 'sum ys yz', 'out'),
    ]
    const parts = [
      node('QuantizeLinear', 'x xs xz', 'q'),
      node('DequantizeLinear', 'q xs xz', 'xd'),
      node('DequantizeLinear', 'w ws wz', 'wd', { axis: 0 }),
      node('DequantizeLinear', 'bias bs', 'bd', { axis: 0 }),
      node('Conv', 'xd wd bd', 'cd'),
      node('QuantizeLinear', 'cd ys yz', 'c'),
      node('DequantizeLinear', 'c ys yz', 'cdd'),
      node('Add', 'cdd xd', 'sumd'),
      node('QuantizeLinear', 'sumd ys yz', 'sum'),
      node('DequantizeLinear', 'sum ys yz', 'out'),
    ]
    const [a, b] = [whole, parts].map((nodes) => runGraph(imported(nodes, initialisers).graph, [x])[0])
    expect(difference(b, a)).toBeLessThan(1e-6)
  })

  it('is refused in types and forms that are not read', () => {
    const nodes = (attributes = {}) => pair.map((n) => ({ ...n, attributes }))
    expect(() => imported(nodes({ block_size: 2 }), { s: scalar(1), z: int8([], [0]) })).toThrow('in blocks')
    expect(() => imported(pair, { s: scalar(1), z: tensorFromNumbers('int32', [], [0]) })).toThrow(
      /m\.onnx: node QuantizeLinear_q: quantisation to int32 is not read; expected int8, uint8/,
    )
    expect(() => imported([node('DynamicQuantizeLinear', 'x', 'q s z'), ...nodes().slice(1)], {})).toThrow(
      'dynamic quantisation is not supported',
    )
  })
})
