import { describe, expect, it } from 'vitest'
import { Graph, GraphBuilder, N, showShape, specialise } from '#signstep/graph/index.js'
import { float32Tensor } from '#signstep/tensor/index.js'
import { difference, randomArray, runGraph } from './run-graph.js'

const builder = () => new GraphBuilder(new Graph('test'))

describe('a graph builder', () => {
  it('makes equal nodes once', () => {
    const b = builder()
    const x = b.input('x', 'float32', [N, 4])
    expect(b.exp(x)).toBe(b.exp(x))
    expect(b.add(x, 1)).toBe(b.add(x, 1))
    expect(b.add(x, 1)).not.toBe(b.add(x, 2))
    expect(b.add(x, 0)).toBe(x)
    expect(b.graph.nodes).toHaveLength(3)
  })

  it('shares large constants by their array, small ones by content', () => {
    const b = builder()
    const large = new Float32Array(100)
    expect(b.constant(float32Tensor([100], large))).toBe(b.constant(float32Tensor([100], large)))
    expect(b.constant(float32Tensor([100], large))).not.toBe(b.constant(float32Tensor([100], large.slice())))
    expect(b.constant(float32Tensor([2], [1, 0]))).toBe(b.constant(float32Tensor([2], [1, 0])))
    expect(b.constant(float32Tensor([2], [1, 0]))).not.toBe(b.constant(float32Tensor([2], [1, -0])))
  })

  it('evaluates what constants determine, but never what a parameter does', () => {
    const b = builder()
    expect(b.exp(b.constant(float32Tensor([2], [0, 1]))).constant?.data).toEqual(Float32Array.of(1, Math.E))
    const weight = b.parameter(float32Tensor([2], [0, 1]), 'weight')
    expect(b.exp(weight).constant).toBeUndefined()
    expect(b.emit('Shape', [weight]).constant?.data).toEqual(BigInt64Array.of(2n))
  })

  it('keeps reserved names for the constants they belong to', () => {
    const b = builder()
    b.reserve(['Exp', 'bias'])
    expect(b.exp(b.input('x', 'float32', [N])).name).not.toBe('Exp')
    expect(b.parameter(float32Tensor([2], [0, 1]), 'Exp').name).toBe('Exp')
    expect(b.parameter(float32Tensor([2], [0, 1]), 'Exp').name).not.toBe('Exp')
  })

  it('writes shapes with N as one −1 where that says it, else computes them', () => {
    const b = builder()
    const x = b.input('x', 'float32', [N, 6, 4])
    const flat = b.reshape(x, [{ factor: 6 }, 4])
    expect(flat.producer?.inputs[1]?.constant?.data).toEqual(BigInt64Array.of(-1n, 4n))
    expect(b.reshape(flat, [N, 24]).producer?.inputs[0]).toBe(x)
    expect(b.reshape(flat, x.shape)).toBe(x)
    const rows = b.expand(b.constant(float32Tensor([1, 2], [1, 2])), [N, 2])
    expect(rows.producer?.inputs[1]?.producer?.op).toBe('Concat')
  })

  it('sums a gradient back over what was broadcast', () => {
    const b = builder()
    const gradient = b.input('g', 'float32', [N, 3, 4])
    expect(b.sumTo(gradient, [3, 1]).shape).toEqual([3, 1])
    expect(b.sumTo(gradient, gradient.shape)).toBe(gradient)
  })
})

describe('a graph specialised to a batch size', () => {
  it('computes the same without shape arithmetic, on the same parameters', () => {
    const b = builder()
    const x = b.input('x', 'float32', [N, 6])
    const weight = b.parameter(float32Tensor([1, 6], [1, 2, 3, 4, 5, 6]), 'weight')
    const rows = b.expand(weight, [N, 6])
    const out = b.add(b.concat([x, rows], 1), b.cast(b.batchSize(), 'float32'))
    out.name = 'out'
    b.graph.outputs.push(out)
    const fixed = specialise(b.graph, 3)
    expect(fixed.nodes.map(({ op }) => op)).toEqual(['Expand', 'Concat', 'Add'])
    expect(showShape(fixed.outputs[0].shape)).toBe('[3,12]')
    expect(fixed.outputs[0].name).toBe('out')
    expect(fixed.nodes[0].inputs[0]).toBe(weight)
    expect(showShape(b.graph.outputs[0].shape), 'the given graph is left alone').toBe('[N,12]')
    const input = randomArray([3, 6])
    expect(difference(runGraph(fixed, [input])[0], runGraph(b.graph, [input])[0])).toBe(0)
  })
})
