import { type GraphBuilder, intAttribute, STRAIGHT_THROUGH, type Value } from '../../graph/index.js'
import { numbersOf } from '../../tensor/index.js'
import type { VjpContext, VjpRule } from '../rule.js'
import { constantInput, noGradient, outputGradient, required, unary, unsupported, type VjpRules } from './shared.js'

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

/**
 * Infinity in place of zeros, to divide by. The slope of a root at zero is infinite, and the next operator would make NaN of it
 * (0·∞, for a norm of a zero vector or after a ReLU): such elements get no gradient instead.
 */
const endless = (b: GraphBuilder, x: Value): Value =>
  b.emit('Where', [b.emit('Equal', [x, b.scalar(0, x.dtype)]), b.scalar(Number.POSITIVE_INFINITY, x.dtype), x])

/** The gradient of y = √x. */
const rootSlope = (b: GraphBuilder, g: Value, y: Value): Value => b.div(b.mul(g, 0.5), endless(b, y))

function power(c: VjpContext, g: Value, x: Value, y: Value): Value {
  const { b } = c
  const exponent = y.constant?.data.length === 1 && !y.parameter ? numbersOf(y.constant)[0] : undefined
  if (exponent === 2) return b.mul(g, b.mul(x, 2))
  if (exponent === 1) return g
  if (exponent === 0.5) return rootSlope(b, g, c.outputs[0])
  if (exponent !== undefined) {
    const base = exponent > 0 && exponent < 1 ? endless(b, x) : x
    return b.mul(g, b.mul(b.emit('Pow', [base, b.scalar(exponent - 1, x.dtype)]), exponent))
  }
  const factor = b.cast(y, x.dtype)
  return b.mul(g, b.mul(b.emit('Pow', [x, b.sub(factor, 1)]), factor))
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

/** Passes strictly inside the bounds, as PyTorch's clamp, hardtanh and relu6; on a bound and beyond, the bound takes the gradient. */
const clip: VjpRule = (c) => {
  const { b } = c
  const [x, low, high, g] = [required(c, 0), c.inputs[1], c.inputs[2], outputGradient(c)]
  // min(max(x, low), high): what high leaves, and of that what low leaves.
  const raised = low && high ? b.emit('Max', [x, low]) : x
  const below = high ? b.mul(g, mask(b, 'Less', raised, high)) : g
  const inside = (): Value => (low ? b.mul(below, mask(b, 'Greater', x, low)) : below)
  return [
    c.needs[0] ? inside() : undefined,
    low && c.needs[1] ? b.sumTo(b.mul(below, mask(b, 'LessOrEqual', x, low)), low.shape) : undefined,
    high && c.needs[2] ? b.sumTo(b.mul(g, mask(b, 'GreaterOrEqual', raised, high)), high.shape) : undefined,
  ]
}

/** x − y·q(x/y) with q the floor, or for fmod the truncation. */
const mod: VjpRule = binary(
  (_c, g) => g,
  (c, g, x, y) => {
    const { b } = c
    const ratio = b.div(x, y)
    const floor = (value: Value): Value => b.emit('Floor', [value])
    const quotient =
      intAttribute(c.node.attributes, 'fmod', 0) === 1
        ? b.mul(floor(b.emit('Abs', [ratio])), b.emit('Sign', [ratio]))
        : floor(ratio)
    return b.neg(b.mul(g, quotient))
  },
)

/** The inference form does nothing; the training form draws anew at every run and has no gradient that another run could use. */
const dropout: VjpRule = (c) => {
  if (c.inputs[2] !== undefined && constantInput(c, 2)?.[0] !== 0) throw unsupported(c, 'training_mode')
  return [outputGradient(c), undefined, undefined]
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
  Mod: mod,
  Min: extreme,
  Max: extreme,
  Sum: sum,
  Mean: mean,
  Where: where,
  Clip: clip,
  Cast: cast,
  CastLike: cast,
  Identity: unary((_b, g) => g),
  Dropout: dropout,
  Neg: unary((b, g) => b.neg(g)),
  Abs: unary((b, g, x) => b.mul(g, b.emit('Sign', [x]))),
  Exp: unary((b, g, _x, y) => b.mul(g, y)),
  Log: unary((b, g, x) => b.div(g, x)),
  Sqrt: unary((b, g, _x, y) => rootSlope(b, g, y)),
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
  Round: ({ node, gradients: [g] }) => [node.attributes[STRAIGHT_THROUGH] === 1 ? g : undefined],
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
