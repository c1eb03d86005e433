import { expect, it } from 'vitest'
import { differentiate } from '#signstep/autodiff/index.js'
import { Graph, GraphBuilder, interpret, type Value } from '#signstep/graph/index.js'

const data = [0, 0, 0, 4]

/** The gradient of f at (0, 0, 0, 4), and the gradient of that gradient. */
function slopes(f: (b: GraphBuilder, x: Value) => Value): number[][] {
  const b = new GraphBuilder(new Graph('zero'))
  const x = b.input('x', 'float32', [4])
  const gradientOf = (value: Value): Value => {
    const [gradient] = differentiate(b, new Map([[value, b.full(value.shape, 1)]]), [x])
    return gradient ?? b.full([4], 0)
  }
  const first = gradientOf(f(b, x))
  const feeds = new Map([['x', { dtype: 'float32' as const, shape: [4], data: Float64Array.from(data) }]])
  return interpret(b.graph, feeds, [first, gradientOf(first)]).map((array) => [...array.data])
}

it.each<[string, (b: GraphBuilder, x: Value) => Value, number]>([
  ['Sqrt', (b, x) => b.sqrt(x), 1 / 4],
  ['Pow 1/2', (b, x) => b.emit('Pow', [x, b.scalar(0.5)]), 1 / 4],
  ['Pow 1/4', (b, x) => b.emit('Pow', [x, b.scalar(0.25)]), 4 ** -0.75 / 4],
  ['Sqrt of Relu', (b, x) => b.sqrt(b.emit('Relu', [x])), 1 / 4],
  ['ReduceL2', (b, x) => b.emit('ReduceL2', [b.reshape(x, [4, 1]), b.ints([1])], { keepdims: 0 }), 1],
  ['a norm written out', (b, x) => b.sqrt(b.mul(x, x)), 1],
])('%s passes no gradient at zero, and no NaN', (_name, f, slope) => {
  const [first, second] = slopes(f)
  expect(first.slice(0, 3)).toEqual([0, 0, 0])
  expect(first[3]).toBeCloseTo(slope, 6)
  expect(second.every(Number.isFinite)).toBe(true)
})
