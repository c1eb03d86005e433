import { ModelError } from '../errors/index.js'
import type { DType } from '../tensor/index.js'
import { isFloat, isInteger } from '../tensor/index.js'
import {
  broadcastShape,
  broadcastTo,
  type Call,
  input,
  int,
  make,
  type Operator,
  saturate,
  text,
  wrap,
} from './array.js'
import { erf } from './erf.js'
import type { NdArray } from './nd-array.js'
import { roundHalfEven } from './round.js'

const unary =
  (f: (x: number, call: Call) => number, dtype?: DType): Operator =>
  (call) => {
    const x = input(call, 0)
    const type = dtype ?? x.dtype
    return make(
      type,
      x.shape,
      wrap(
        type,
        x.data.map((v) => f(v, call)),
      ),
    )
  }

const binary =
  (f: (a: number, b: number, dtype: DType, call: Call) => number, dtype?: DType): Operator =>
  (call) =>
    combine(input(call, 0), input(call, 1), (a, b, type) => f(a, b, type, call), dtype)

export function combine(
  a: NdArray,
  b: NdArray,
  f: (a: number, b: number, dtype: DType) => number,
  dtype?: DType,
): NdArray {
  const shape = broadcastShape([a.shape, b.shape])
  const [x, y] = [broadcastTo(a, shape), broadcastTo(b, shape)]
  const type = dtype ?? a.dtype
  const data = new Float64Array(x.length)
  for (let i = 0; i < data.length; i++) data[i] = f(x[i], y[i], a.dtype)
  return make(type, shape, wrap(type, data))
}

/** Any number of inputs, taken in pairs; `finish` sees the result and how many they were. */
const variadic =
  (f: (a: number, b: number) => number, finish = (value: number, _count: number): number => value): Operator =>
  (call) => {
    const all = call.inputs.map((_, i) => input(call, i))
    const { dtype, shape, data } = all.slice(1).reduce((a, b) => combine(a, b, (x, y) => f(x, y)), input(call, 0))
    return make(
      dtype,
      shape,
      data.map((v) => finish(v, all.length)),
    )
  }

const attribute = (call: Call, name: string, fallback: number): number => int(call, name, fallback)
const sigmoid = (x: number): number => (x >= 0 ? 1 / (1 + Math.exp(-x)) : Math.exp(x) / (1 + Math.exp(x)))
const softplus = (x: number): number => Math.max(x, 0) + Math.log1p(Math.exp(-Math.abs(x)))
const clip = (x: number, low: number, high: number): number => (x < low ? low : Math.min(x, high))

function gelu(x: number, call: Call): number {
  if (text(call, 'approximate', 'none') === 'tanh')
    return 0.5 * x * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x * x * x)))
  return 0.5 * x * (1 + erf(x / Math.SQRT2))
}

const limit = (call: Call, index: number, fallback: number): number => call.inputs[index]?.data[0] ?? fallback

function refuseZero(divisor: number, dtype: DType, call: Call): void {
  if (divisor === 0 && isInteger(dtype))
    throw new ModelError('MODEL_INVALID', 'an integer is divided by zero', { subject: call.op })
}

function divide(a: number, b: number, dtype: DType, call: Call): number {
  refuseZero(b, dtype, call)
  return isInteger(dtype) ? Math.trunc(a / b) : a / b
}

function modulo(a: number, b: number, dtype: DType, call: Call): number {
  refuseZero(b, dtype, call)
  // fmod takes the sign of the dividend, the integer form that of the divisor (as Python).
  const rest = a % b
  return int(call, 'fmod', 0) === 1 || rest === 0 || rest < 0 === b < 0 ? rest : rest + b
}

const cast: Operator = (call) => castTo(input(call, 0), dtypeOf(call.attributes.to))

/** Integers wrap into narrower ones; floats are truncated and saturate, NaN becomes 0; floats keep their float64 precision. */
export function castTo(x: NdArray, dtype: DType): NdArray {
  const towardsIntegers = isInteger(dtype) && isFloat(x.dtype)
  return make(dtype, x.shape, towardsIntegers ? saturate(dtype, x.data) : wrap(dtype, x.data.slice()))
}

function dtypeOf(to: unknown): DType {
  if (typeof to === 'string') return to as DType
  throw new ModelError('MODEL_INVALID', 'Cast needs a target type', { found: String(to) })
}

const where: Operator = (call) => {
  const [c, a, b] = [input(call, 0), input(call, 1), input(call, 2)]
  const shape = broadcastShape([c.shape, a.shape, b.shape])
  const [condition, x, y] = [c, a, b].map((array) => broadcastTo(array, shape))
  return make(
    a.dtype,
    shape,
    condition.map((chosen, i) => (chosen ? x[i] : y[i])),
  )
}

const identity: Operator = (call) => make(input(call, 0).dtype, input(call, 0).shape, input(call, 0).data.slice())

/** Inference only: everything is kept. */
const dropout: Operator = (call) => {
  const x = input(call, 0)
  const ratio = call.inputs[1]?.data[0] ?? 0.5
  if (call.inputs[2]?.data[0] && ratio !== 0)
    throw new ModelError('MODEL_UNSUPPORTED', 'it is in training mode', {
      subject: call.op,
      found: `ratio ${ratio}`,
      cure: 'Export the model in evaluation mode.',
    })
  const kept = make('bool', x.shape, new Float64Array(x.data.length).fill(1))
  return [make(x.dtype, x.shape, x.data.slice()), kept].slice(0, call.outputs)
}

export const elementwise: Record<string, Operator> = {
  Add: binary((a, b) => a + b),
  Sub: binary((a, b) => a - b),
  Mul: binary((a, b) => a * b),
  Div: binary(divide),
  Mod: binary(modulo),
  Pow: binary((a, b, dtype) => (isInteger(dtype) ? Math.trunc(a ** b) : a ** b)),
  PRelu: binary((x, slope) => (x < 0 ? slope * x : x)),
  Equal: binary((a, b) => Number(a === b), 'bool'),
  Greater: binary((a, b) => Number(a > b), 'bool'),
  GreaterOrEqual: binary((a, b) => Number(a >= b), 'bool'),
  Less: binary((a, b) => Number(a < b), 'bool'),
  LessOrEqual: binary((a, b) => Number(a <= b), 'bool'),
  And: binary((a, b) => Number(a !== 0 && b !== 0), 'bool'),
  Or: binary((a, b) => Number(a !== 0 || b !== 0), 'bool'),
  Xor: binary((a, b) => Number((a !== 0) !== (b !== 0)), 'bool'),
  Not: unary((x) => Number(x === 0), 'bool'),
  IsNaN: unary((x) => Number(Number.isNaN(x)), 'bool'),
  IsInf: unary(
    (x, c) =>
      Number(
        (x === Number.POSITIVE_INFINITY && int(c, 'detect_positive', 1) === 1) ||
          (x === Number.NEGATIVE_INFINITY && int(c, 'detect_negative', 1) === 1),
      ),
    'bool',
  ),
  Min: variadic(Math.min),
  Max: variadic(Math.max),
  Sum: variadic((a, b) => a + b),
  Mean: variadic(
    (a, b) => a + b,
    (sum, count) => sum / count,
  ),
  Neg: unary((x) => -x),
  Abs: unary(Math.abs),
  Sign: unary(Math.sign),
  Exp: unary(Math.exp),
  Log: unary(Math.log),
  Sqrt: unary(Math.sqrt),
  Reciprocal: unary((x) => 1 / x),
  Erf: unary(erf),
  Sin: unary(Math.sin),
  Cos: unary(Math.cos),
  Tan: unary(Math.tan),
  Asin: unary(Math.asin),
  Acos: unary(Math.acos),
  Atan: unary(Math.atan),
  Sinh: unary(Math.sinh),
  Cosh: unary(Math.cosh),
  Asinh: unary(Math.asinh),
  Acosh: unary(Math.acosh),
  Atanh: unary(Math.atanh),
  Tanh: unary(Math.tanh),
  Sigmoid: unary(sigmoid),
  Softplus: unary(softplus),
  Softsign: unary((x) => x / (1 + Math.abs(x))),
  Relu: unary((x) => Math.max(x, 0)),
  LeakyRelu: unary((x, c) => (x < 0 ? attribute(c, 'alpha', 0.01) * x : x)),
  Elu: unary((x, c) => (x < 0 ? attribute(c, 'alpha', 1) * Math.expm1(x) : x)),
  Selu: unary(
    (x, c) =>
      attribute(c, 'gamma', 1.0507009873554805) *
      (x > 0 ? x : attribute(c, 'alpha', 1.6732632423543772) * Math.expm1(x)),
  ),
  Celu: unary(
    (x, c) => Math.max(0, x) + Math.min(0, attribute(c, 'alpha', 1) * Math.expm1(x / attribute(c, 'alpha', 1))),
  ),
  Gelu: unary(gelu),
  Swish: unary((x, c) => x * sigmoid(attribute(c, 'alpha', 1) * x)),
  Mish: unary((x) => x * Math.tanh(softplus(x))),
  HardSigmoid: unary((x, c) => clip(attribute(c, 'alpha', 0.2) * x + attribute(c, 'beta', 0.5), 0, 1)),
  HardSwish: unary((x) => x * clip(x / 6 + 0.5, 0, 1)),
  ThresholdedRelu: unary((x, c) => (x > attribute(c, 'alpha', 1) ? x : 0)),
  Shrink: unary((x, c) =>
    x < -attribute(c, 'lambd', 0.5)
      ? x + attribute(c, 'bias', 0)
      : x > attribute(c, 'lambd', 0.5)
        ? x - attribute(c, 'bias', 0)
        : 0,
  ),
  Floor: unary(Math.floor),
  Ceil: unary(Math.ceil),
  Round: unary(roundHalfEven),
  Clip: unary((x, c) =>
    Math.min(Math.max(x, limit(c, 1, Number.NEGATIVE_INFINITY)), limit(c, 2, Number.POSITIVE_INFINITY)),
  ),
  Where: where,
  Cast: cast,
  CastLike: (call) => castTo(input(call, 0), input(call, 1).dtype),
  Identity: identity,
  Dropout: dropout,
}
