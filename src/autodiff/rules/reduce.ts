import { intAttribute, type Value } from '../../graph/index.js'
import type { VjpContext, VjpRule } from '../rule.js'
import {
  constantInput,
  noGradient,
  normalAxis,
  numberDim,
  outputGradient,
  range,
  required,
  unsupported,
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
    const given = constantInput(c, 1)
    if ((given === undefined || given.length === 0) && intAttribute(node.attributes, 'noop_with_empty_axes', 0) === 1)
      throw unsupported(c, 'no axes')
    const axes =
      given === undefined || given.length === 0
        ? range(0, x.shape.length)
        : given.map((axis) => normalAxis(axis, x.shape.length))
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

/** d‖x‖/dx = x/‖x‖, and 0 for a zero vector. */
function l2({ c: { b }, x, g, y }: Reduction): Value {
  return b.mul(x, b.div(g, b.emit('Max', [y, b.scalar(1e-30)])))
}

/** The product of all other elements, by leaving each out in turn: exact where elements are zero. */
function product({ c, x, axes, g }: Reduction): Value {
  const { b } = c
  if (axes.length !== 1) throw unsupported(c, 'a product over several axes')
  const [axis] = axes
  const size = numberDim(c, x.shape[axis], 'a reduced axis')
  if (size > 64) throw unsupported(c, 'a product of more than 64 elements')
  const others = range(0, size).map((i) => {
    const parts = [b.slice(x, [0], [i], [axis]), b.slice(x, [i + 1], [size], [axis])].filter(
      (part) => part.shape[axis] !== 0,
    )
    return parts.length === 0
      ? b.full(
          x.shape.map((dim, a) => (a === axis ? 1 : dim)),
          1,
        )
      : b.emit('ReduceProd', [b.concat(parts, axis), b.ints([axis])], { keepdims: 1 })
  })
  return b.mul(b.concat(others, axis), g)
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
