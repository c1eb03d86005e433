import type { GraphBuilder, Value } from '../../graph/index.js'
import type { VjpContext, VjpRule } from '../rule.js'
import { noGradient, outputGradient, required, unary, type VjpRules } from './shared.js'

/** Gradients of both operands of a broadcasting operator, summed over the axes along which they were repeated. */
const binary =
  (
    left: (c: VjpContext, g: Value, a: Value, b: Value) => Value,
    right: (c: VjpContext, g: Value, a: Value, b: Value) => Value,
  ): VjpRule =>
  (c) => {
    const [g, x, y] = [outputGradient(c), required(c, 0), required(c, 1)]
    return [
      c.needs[0] ? c.b.sumTo(left(c, g, x, y), x.shape) : undefined,
      c.needs[1] ? c.b.sumTo(right(c, g, x, y), y.shape) : undefined,
    ]
  }

const square = (b: GraphBuilder, x: Value): Value => b.mul(x, x)
const oneMinus = (b: GraphBuilder, x: Value): Value => b.add(b.neg(x), 1)
const mask = (b: GraphBuilder, op: string, x: Value, y: Value | number): Value =>
  b.cast(b.emit(op, [x, typeof y === 'number' ? b.scalar(y, x.dtype) : y]), x.dtype)

function power(c: VjpContext, g: Value, x: Value, y: Value): Value {
  const { b } = c
  const exponent = y.constant?.data.length === 1 ? Number(y.constant.data[0]) : undefined
  if (exponent === 2) return b.mul(g, b.mul(x, 2))
  if (exponent === 1) return g
  if (exponent === 0.5) return b.div(b.mul(g, 0.5), c.outputs[0])
  const lower = exponent === undefined ? b.sub(y, 1) : b.scalar(exponent - 1, x.dtype)
  return b.mul(g, b.mul(b.emit('Pow', [x, lower]), y))
}

/** x^y · ln x, taken as 0 where x is not positive. */
function powerOfExponent(c: VjpContext, g: Value, x: Value): Value {
  const { b } = c
  const positive = b.emit('Greater', [x, b.scalar(0, x.dtype)])
  const logarithm = b.log(b.where(positive, x, 1))
  return b.mul(g, b.mul(c.outputs[0], logarithm))
}

/** Min and Max of any number of inputs: equal inputs share the gradient (as PyTorch's maximum does). */
const extreme: VjpRule = (c) => {
  const { b } = c
  const g = outputGradient(c)
  const chosen = c.inputs.map((x) => x && mask(b, 'Equal', x, c.outputs[0]))
  const ties = chosen.filter((m) => m !== undefined).reduce((sum, m) => b.add(sum, m))
  const share = b.div(g, ties)
  return c.inputs.map((x, i) => (x && chosen[i] && c.needs[i] ? b.sumTo(b.mul(share, chosen[i]), x.shape) : undefined))
}

const sum: VjpRule = (c) =>
  c.inputs.map((x, i) => (x && c.needs[i] ? c.b.sumTo(outputGradient(c), x.shape) : undefined))

const mean: VjpRule = (c) => {
  const share = c.b.mul(outputGradient(c), 1 / c.inputs.length)
  return c.inputs.map((x, i) => (x && c.needs[i] ? c.b.sumTo(share, x.shape) : undefined))
}

/** Selected with Where, not multiplied: an infinite gradient on the side not taken must not become NaN. */
const where: VjpRule = (c) => {
  const { b } = c
  const [condition, x, y, g] = [required(c, 0), required(c, 1), required(c, 2), outputGradient(c)]
  const zero = b.scalar(0, g.dtype)
  return [
    undefined,
    c.needs[1] ? b.sumTo(b.emit('Where', [condition, g, zero]), x.shape) : undefined,
    c.needs[2] ? b.sumTo(b.emit('Where', [condition, zero, g]), y.shape) : undefined,
  ]
}

/** Passes inside the bounds and on them, as PyTorch's clamp. */
const clip: VjpRule = (c) => {
  const { b } = c
  const [x, low, high] = [required(c, 0), c.inputs[1], c.inputs[2]]
  let g = outputGradient(c)
  if (low) g = b.mul(g, mask(b, 'GreaterOrEqual', x, low))
  if (high) g = b.mul(g, mask(b, 'LessOrEqual', x, high))
  return [g, undefined, undefined]
}

const cast: VjpRule = (c) => {
  const x = required(c, 0)
  const both = x.dtype.includes('float') && c.outputs[0].dtype.includes('float')
  return [both ? c.b.cast(outputGradient(c), x.dtype) : undefined, undefined]
}

export const elementwiseRules: VjpRules = {
  Add: binary(
    (_c, g) => g,
    (_c, g) => g,
  ),
  Sub: binary(
    (_c, g) => g,
    (c, g) => c.b.neg(g),
  ),
  Mul: binary(
    (c, g, _a, y) => c.b.mul(g, y),
    (c, g, x) => c.b.mul(g, x),
  ),
  Div: binary(
    (c, g, _a, y) => c.b.div(g, y),
    (c, g, _a, y) => c.b.neg(c.b.div(c.b.mul(g, c.outputs[0]), y)),
  ),
  Pow: binary(power, powerOfExponent),
  Mod: binary(
    (_c, g) => g,
    (c, g, x, y) => c.b.neg(c.b.mul(g, c.b.emit('Floor', [c.b.div(x, y)]))),
  ),
  Min: extreme,
  Max: extreme,
  Sum: sum,
  Mean: mean,
  Where: where,
  Clip: clip,
  Cast: cast,
  CastLike: cast,
  Identity: unary((_b, g) => g),
  Dropout: (c) => [outputGradient(c), undefined, undefined],
  Neg: unary((b, g) => b.neg(g)),
  Abs: unary((b, g, x) => b.mul(g, b.emit('Sign', [x]))),
  Exp: unary((b, g, _x, y) => b.mul(g, y)),
  Log: unary((b, g, x) => b.div(g, x)),
  Sqrt: unary((b, g, _x, y) => b.div(b.mul(g, 0.5), y)),
  Reciprocal: unary((b, g, _x, y) => b.neg(b.mul(g, square(b, y)))),
  Erf: unary((b, g, x) => b.mul(g, b.mul(b.exp(b.neg(square(b, x))), 2 / Math.sqrt(Math.PI)))),
  Sin: unary((b, g, x) => b.mul(g, b.emit('Cos', [x]))),
  Cos: unary((b, g, x) => b.neg(b.mul(g, b.emit('Sin', [x])))),
  Tan: unary((b, g, _x, y) => b.mul(g, b.add(square(b, y), 1))),
  Asin: unary((b, g, x) => b.div(g, b.sqrt(oneMinus(b, square(b, x))))),
  Acos: unary((b, g, x) => b.neg(b.div(g, b.sqrt(oneMinus(b, square(b, x)))))),
  Atan: unary((b, g, x) => b.div(g, b.add(square(b, x), 1))),
  Sinh: unary((b, g, x) => b.mul(g, b.emit('Cosh', [x]))),
  Cosh: unary((b, g, x) => b.mul(g, b.emit('Sinh', [x]))),
  Asinh: unary((b, g, x) => b.div(g, b.sqrt(b.add(square(b, x), 1)))),
  Acosh: unary((b, g, x) => b.div(g, b.sqrt(b.sub(square(b, x), 1)))),
  Atanh: unary((b, g, x) => b.div(g, oneMinus(b, square(b, x)))),
  Floor: noGradient,
  Ceil: noGradient,
  Round: noGradient,
  Sign: noGradient,
  Equal: noGradient,
  Greater: noGradient,
  GreaterOrEqual: noGradient,
  Less: noGradient,
  LessOrEqual: noGradient,
  And: noGradient,
  Or: noGradient,
  Xor: noGradient,
  Not: noGradient,
  IsNaN: noGradient,
  IsInf: noGradient,
}
