import { intAttribute, type Value } from '../../graph/index.js'
import { tensorFromNumbers } from '../../tensor/index.js'
import type { VjpContext, VjpRule } from '../rule.js'
import {
  constantInput,
  noGradient,
  normalAxis,
  numberDim,
  outputGradient,
  range,
  required,
  type VjpRules,
} from './shared.js'

interface Reduction {
  readonly c: VjpContext
  readonly x: Value
  readonly axes: readonly number[]
  /** The gradient and the result with the reduced axes kept as 1: they broadcast against x. */
  readonly g: Value
  readonly y: Value
}

/** A rule for a reduction; `f` gives the gradient of x in any shape that broadcasts to it. */
const reduction =
  (f: (r: Reduction) => Value): VjpRule =>
  (c) => {
    const { b, node } = c
    const x = required(c, 0)
    const given = constantInput(c, 1) ?? []
    // With no axes named all are reduced, or none at all where the attribute says so.
    const all = given.length === 0 && intAttribute(node.attributes, 'noop_with_empty_axes', 0) === 0
    const axes = all ? range(0, x.shape.length) : given.map((axis) => normalAxis(axis, x.shape.length))
    const kept = x.shape.map((dim, axis) => (axes.includes(axis) ? 1 : dim))
    return [
      b.expand(f({ c, x, axes, g: b.reshape(outputGradient(c), kept), y: b.reshape(c.outputs[0], kept) }), x.shape),
      undefined,
    ]
  }

const count = ({ c, x, axes }: Reduction): number =>
  axes.reduce((n, axis) => n * numberDim(c, x.shape[axis], 'a reduced axis'), 1)

/** Equal extremes share the gradient (as PyTorch's amax does). */
function extreme({ c: { b }, x, axes, g, y }: Reduction): Value {
  const chosen = b.cast(b.emit('Equal', [x, y]), 'float32')
  return b.mul(chosen, b.div(g, b.reduceSum(chosen, axes)))
}

/** d‖x‖/dx = x/‖x‖, and 0 for a zero vector (whose own derivative stays finite too). */
function l2({ c: { b }, x, g, y }: Reduction): Value {
  const zero = b.emit('Equal', [y, b.scalar(0)])
  return b.mul(x, b.div(g, b.emit('Where', [zero, b.scalar(1), y])))
}

/** The product of all other elements, exact where elements are zero: n copies of the n factors, a one in place of the own. */
function product(r: Reduction): Value {
  const { c, x, axes, g } = r
  const { b } = c
  const size = count(r)
  const kept = range(0, x.shape.length).filter((axis) => !axes.includes(axis))
  const lead = kept.map((axis) => x.shape[axis])
  const perm = [...kept, ...axes]
  const own = range(0, size * size).map((i) => Number(i % (size + 1) === 0))
  const factors = b.emit('Where', [
    b.constant(tensorFromNumbers('bool', [size, size], own), 'own'),
    b.scalar(1),
    b.reshape(b.transpose(x, perm), [...lead, 1, size]),
  ])
  const others = b.emit('ReduceProd', [factors, b.ints([lead.length + 1])], { keepdims: 0 })
  const back = range(0, perm.length).map((axis) => perm.indexOf(axis))
  return b.mul(b.transpose(b.reshape(others, [...lead, ...axes.map((axis) => x.shape[axis])]), back), g)
}

export const reduceRules: VjpRules = {
  ReduceSum: reduction(({ g }) => g),
  ReduceMean: reduction((r) => r.c.b.mul(r.g, 1 / count(r))),
  ReduceMax: reduction(extreme),
  ReduceMin: reduction(extreme),
  ReduceProd: reduction(product),
  ReduceL1: reduction(({ c: { b }, x, g }) => b.mul(b.emit('Sign', [x]), g)),
  ReduceL2: reduction(l2),
  ReduceSumSquare: reduction(({ c: { b }, x, g }) => b.mul(x, b.mul(g, 2))),
  ReduceLogSum: reduction(({ c: { b }, g, y }) => b.div(g, b.exp(y))),
  ReduceLogSumExp: reduction(({ c: { b }, x, g, y }) => b.mul(b.exp(b.sub(x, y)), g)),
  ArgMax: noGradient,
  ArgMin: noGradient,
}
