import { binary, unary } from './apply.js'
import { type Call, int, type Operator, text } from './array.js'
import { erf } from './erf.js'

const attribute = (call: Call, name: string, fallback: number): number => int(call, name, fallback)
const sigmoid = (x: number): number => (x >= 0 ? 1 / (1 + Math.exp(-x)) : Math.exp(x) / (1 + Math.exp(x)))
const softplus = (x: number): number => Math.max(x, 0) + Math.log1p(Math.exp(-Math.abs(x)))
const clip = (x: number, low: number, high: number): number => (x < low ? low : Math.min(x, high))

function gelu(x: number, call: Call): number {
  if (text(call, 'approximate', 'none') === 'tanh')
    return 0.5 * x * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x * x * x)))
  return 0.5 * x * (1 + erf(x / Math.SQRT2))
}

export const activation: Record<string, Operator> = {
  PRelu: binary((x, slope) => (x < 0 ? slope * x : x)),
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
}
