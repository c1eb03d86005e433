import { ModelError } from '../errors/index.js'
import { type DType, isInteger } from '../tensor/index.js'
import { binary, unary, variadic } from './apply.js'
import { type Call, int, type Operator } from './array.js'
import { erf } from './erf.js'
import { roundHalfEven } from './round.js'

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

export const arithmetic: Record<string, Operator> = {
  Add: binary((a, b) => a + b),
  Sub: binary((a, b) => a - b),
  Mul: binary((a, b) => a * b),
  Div: binary(divide),
  Mod: binary(modulo),
  Pow: binary((a, b, dtype) => (isInteger(dtype) ? Math.trunc(a ** b) : a ** b)),
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
  Floor: unary(Math.floor),
  Ceil: unary(Math.ceil),
  Round: unary(roundHalfEven),
  Clip: unary((x, c) =>
    Math.min(Math.max(x, limit(c, 1, Number.NEGATIVE_INFINITY)), limit(c, 2, Number.POSITIVE_INFINITY)),
  ),
}
