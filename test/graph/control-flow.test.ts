import { describe, expect, it } from 'vitest'
import { importModel } from '#signstep/graph/index.js'
import type { OnnxGraph, OnnxNode } from '#signstep/onnx/index.js'
import { float32Tensor, type Tensor, tensorFromNumbers } from '#signstep/tensor/index.js'
import { floats, index, ints, node, onnxModel } from './onnx-model.js'
import { difference, randomArray, runGraph } from './run-graph.js'

const inner = (
  nodes: readonly OnnxNode[],
  outputs: readonly string[],
  inputs: readonly string[] = [],
  initialisers: Record<string, Tensor> = {},
): OnnxGraph => {
  const info = (name: string) => ({ name, dtype: undefined, shape: undefined })
  return {
    name: 'inner',
    inputs: inputs.map(info),
    outputs: outputs.map(info),
    initialisers: new Map(Object.entries(initialisers)),
    nodes,
  }
}

const two = { two: float32Tensor([], [2]) }
const doubled = inner([node('Mul', 'x two', 'made')], ['made'], [], two)
const negated = inner([node('Neg', 'x', 'made')], ['made'])
const head = [node('Flatten', 'out', 'flat', { axis: 1 }), node('MatMul', 'flat weight', 'y')]
const weight = floats([48, 5])
const x = randomArray([2, 3, 4, 4], 3)

const imported = (nodes: readonly OnnxNode[], initialisers: Record<string, Tensor> = {}, input?: (string | number)[]) =>
  importModel(onnxModel([...nodes, ...head], { initialisers: { weight, ...initialisers }, ...(input && { input }) }), {
    file: 'm.onnx',
  })
const plain = (nodes: readonly OnnxNode[], initialisers: Record<string, Tensor> = {}) =>
  runGraph(imported(nodes, initialisers).graph, [x])[0]

describe('If', () => {
  const byHeight = [
    node('Shape', 'x', 'size', { start: 2, end: 3 }),
    node('Equal', 'size wanted', 'condition'),
    node('If', 'condition', 'out', { then_branch: doubled, else_branch: negated }),
  ]

  it('becomes the branch that the size of the image decides for', () => {
    const yes = imported(byHeight, { wanted: ints(4) })
    expect(yes.graph.nodes.map(({ op }) => op)).toEqual(['Mul', 'Flatten', 'MatMul'])
    const no = imported(byHeight, { wanted: ints(5) })
    expect(no.graph.nodes.map(({ op }) => op)).toEqual(['Neg', 'Flatten', 'MatMul'])
    const expected = plain([node('Mul', 'x two', 'out')], two)
    expect(difference(expected, runGraph(yes.graph, [x])[0])).toBeLessThan(1e-12)
  })

  it('keeps names apart that two inner graphs share', () => {
    const three = inner([node('Mul', 'once two', 'made')], ['made'], [], { two: float32Tensor([], [3]) })
    const yes = { always: tensorFromNumbers('bool', [], [1]) }
    const nodes = [
      node('If', 'always', 'once', { then_branch: doubled, else_branch: negated }),
      node('If', 'always', 'out', { then_branch: three, else_branch: negated }),
    ]
    const expected = plain([node('Mul', 'x six', 'out')], { six: float32Tensor([], [6]) })
    expect(difference(expected, plain(nodes, yes))).toBeLessThan(1e-12)
  })

  it('is refused where the image decides', () => {
    const nodes = [
      node('ReduceMax', 'x', 'most', { keepdims: 0 }),
      node('Greater', 'most zero', 'condition'),
      node('If', 'condition', 'out', { then_branch: doubled, else_branch: negated }),
    ]
    expect(() => imported(nodes, { zero: float32Tensor([], [0]) })).toThrow(
      /m\.onnx: node If_out: the branch taken cannot be told before the model runs/,
    )
  })
})

describe('Loop', () => {
  const body = inner(
    [
      node('Mul', 'state two', 'next'),
      node('Cast', 'i', 'number', { to: 1 }),
      node('Add', 'next number', 'scanned'),
      node('Identity', 'goes', 'still'),
    ],
    ['still', 'next', 'scanned'],
    ['i', 'goes', 'state'],
    two,
  )

  it('is unrolled as often as it runs; what each iteration leaves is stacked', () => {
    const nodes = [
      node('Loop', 'trips - x', 'final all', { body }),
      node('Gather', 'all last', 'one', { axis: 0 }),
      node('Add', 'final one', 'out'),
    ]
    // final = 8x; the last scan is 8x + 2.
    const found = plain(nodes, { trips: index(3), last: index(2) })
    const expected = plain([node('Mul', 'x sixteen', 's'), node('Add', 's two', 'out')], {
      sixteen: float32Tensor([], [16]),
      ...two,
    })
    expect(difference(expected, found)).toBeLessThan(1e-12)
  })

  it('ends when its condition does', () => {
    const until = inner(
      [node('Mul', 'state two', 'next'), node('Less', 'i one', 'still')],
      ['still', 'next'],
      ['i', 'goes', 'state'],
      { ...two, one: index(1) },
    )
    const nodes = [node('Loop', '- yes x', 'out', { body: until })]
    const found = plain(nodes, { yes: tensorFromNumbers('bool', [], [1]) })
    const expected = plain([node('Mul', 'x four', 'out')], { four: float32Tensor([], [4]) })
    expect(difference(expected, found)).toBeLessThan(1e-12)
  })

  it('is refused where its end cannot be told, or lies too far', () => {
    const endless = inner(
      [node('Mul', 'state two', 'next'), node('Identity', 'goes', 'still')],
      ['still', 'next'],
      ['i', 'goes', 'state'],
      two,
    )
    expect(() => imported([node('Loop', '- - x', 'out', { body: endless })])).toThrow(/at most 4096 iterations/)
    const counted = [
      node('ReduceMax', 'x', 'most', { keepdims: 0 }),
      node('Cast', 'most', 'trips', { to: 7 }),
      node('Loop', 'trips - x', 'out', { body: endless }),
    ]
    expect(() => imported(counted)).toThrow('the number of iterations cannot be told')
  })
})
