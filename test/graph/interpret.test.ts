import { describe, expect, it } from 'vitest'
import { Graph, GraphBuilder, interpret, N, Node, type Value } from '#signstep/graph/index.js'
import type { NdArray } from '#signstep/interpreter/index.js'

const array = (shape: readonly number[], values: readonly number[]): NdArray => ({
  dtype: 'float32',
  shape,
  data: Float64Array.from(values),
})

/** y = exp(x) · 2 + x, z = the sum of y over a row. */
function sample(): { graph: Graph; y: Value } {
  const b = new GraphBuilder(new Graph('sample'))
  const x = b.input('x', 'float32', [N, 2])
  const y = b.add(b.mul(b.exp(x), 2), x)
  b.graph.outputs.push(b.reduceSum(y, [1], false))
  return { graph: b.graph, y }
}

describe('interpreting a graph', () => {
  it('gives its outputs in float64 at the batch size of its feeds', () => {
    const { graph } = sample()
    const [z] = interpret(graph, new Map([['x', array([3, 2], [0, 0, 1, 0, 0, 2])]]))
    expect(z.shape).toEqual([3])
    const wanted = [4, 2 * Math.E + 1 + 2, 2 + 2 * Math.E ** 2 + 2]
    for (const [i, want] of wanted.entries()) expect(Math.abs(z.data[i] - want)).toBeLessThan(1e-14)
  })

  it('gives any value asked for, inputs included', () => {
    const { graph, y } = sample()
    const x = array([1, 2], [0, 0])
    const [found, fed] = interpret(graph, new Map([['x', x]]), [y, graph.inputs[0]])
    expect([...found.data]).toEqual([2, 2])
    expect(fed).toBe(x)
  })

  it('says which input is missing or has the wrong shape', () => {
    const { graph } = sample()
    expect(() => interpret(graph, new Map())).toThrow(/x: the input is not fed/)
    expect(() => interpret(graph, new Map([['x', array([1, 3], [0, 0, 0])]]))).toThrow(
      /expected \[N,2\]; found \[1,3\]/,
    )
  })

  it('refuses a node whose result has another shape than was inferred', () => {
    const { graph } = sample()
    const [last] = graph.nodes.splice(-1)
    graph.nodes.push(new Node(last.op, last.name, last.inputs, last.outputs, { keepdims: 1 }))
    expect(() => interpret(graph, new Map([['x', array([1, 2], [0, 0])]]))).toThrow(/another shape than inferred/)
  })
})
