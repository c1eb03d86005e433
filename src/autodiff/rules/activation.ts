import { type GraphBuilder, intAttribute, type Value } from '../../graph/index.js'
import type { VjpRule } from '../rule.js'
import { noGradient, normalAxis, outputGradient, required, unary, type VjpRules } from './shared.js'

const complement = (b: GraphBuilder, m: Value): Value => b.add(b.neg(m), 1)
const sigmoid = (b: GraphBuilder, x: Value): Value => b.emit('Sigmoid', [x])
/** 1 where x > limit, else 0. */
const above = (b: GraphBuilder, x: Value, limit: number): Value => b.greaterMask(x, limit)
/** `high` where the mask is 1, `low` where it is 0. */
const blend = (b: GraphBuilder, m: Value, high: Value | number, low: Value | number): Value =>
  b.add(b.mul(m, high), b.mul(complement(b, m), low))

/** Φ(x) + x·φ(x) for the exact form; the tanh form after Hendrycks & Gimpel 2016. */
const gelu: VjpRule = unary((b, g, x, _y, node) => {
  if (node.attributes.approximate === 'tanh') {
    const scale = Math.sqrt(2 / Math.PI)
    const squared = b.mul(x, x)
    const t = b.emit('Tanh', [b.mul(b.mul(x, b.add(b.mul(squared, 0.044715), 1)), scale)])
    const inner = b.mul(b.add(b.mul(squared, 3 * 0.044715), 1), scale)
    const slope = b.mul(b.mul(x, complement(b, b.mul(t, t))), inner)
    return b.mul(g, b.mul(b.add(b.add(t, 1), slope), 0.5))
  }
  // With u = x/√2: Φ = ½ + ½·erf(u), and x·φ = u·exp(ln(1/√π) − u²): one pass less than with x².
  const u = b.mul(x, Math.SQRT1_2)
  const cumulative = b.add(b.mul(b.emit('Erf', [u]), 0.5), 0.5)
  const density = b.exp(b.sub(b.scalar(-0.5 * Math.log(Math.PI)), b.mul(u, u)))
  return b.mul(g, b.add(cumulative, b.mul(u, density)))
})

const prelu: VjpRule = (c) => {
  const { b } = c
  const [x, slope, g] = [required(c, 0), required(c, 1), outputGradient(c)]
  const positive = above(b, x, 0)
  return [
    c.needs[0] ? b.mul(g, blend(b, positive, 1, slope)) : undefined,
    c.needs[1] ? b.sumTo(b.mul(g, b.mul(x, complement(b, positive))), slope.shape) : undefined,
  ]
}

const softmax: VjpRule = unary((b, g, x, y, node) => {
  const axes = [normalAxis(intAttribute(node.attributes, 'axis', -1), x.shape.length)]
  return b.mul(y, b.sub(g, b.reduceSum(b.mul(g, y), axes)))
})

const logSoftmax: VjpRule = unary((b, g, x, y, node) => {
  const axes = [normalAxis(intAttribute(node.attributes, 'axis', -1), x.shape.length)]
  return b.sub(g, b.mul(b.exp(y), b.reduceSum(g, axes)))
})

export const activationRules: VjpRules = {
  // y > 0 exactly where x > 0, and y is kept anyway for the next operator.
  Relu: unary((b, g, _x, y) => b.mul(g, above(b, y, 0))),
  LeakyRelu: unary((b, g, x, _y, node) =>
    b.mul(g, blend(b, above(b, x, 0), 1, intAttribute(node.attributes, 'alpha', 0.01))),
  ),
  PRelu: prelu,
  Elu: unary((b, g, x, y, node) =>
    b.mul(g, blend(b, above(b, x, 0), 1, b.add(y, intAttribute(node.attributes, 'alpha', 1)))),
  ),
  Selu: unary((b, g, x, y, node) => {
    const gamma = intAttribute(node.attributes, 'gamma', 1.0507009873554805)
    const alpha = intAttribute(node.attributes, 'alpha', 1.6732632423543772)
    return b.mul(g, blend(b, above(b, x, 0), gamma, b.add(y, gamma * alpha)))
  }),
  Celu: unary((b, g, x, y, node) =>
    b.mul(g, blend(b, above(b, x, 0), 1, b.add(b.mul(y, 1 / intAttribute(node.attributes, 'alpha', 1)), 1))),
  ),
  Gelu: gelu,
  Sigmoid: unary((b, g, _x, y) => b.mul(g, b.mul(y, complement(b, y)))),
  Tanh: unary((b, g, _x, y) => b.mul(g, complement(b, b.mul(y, y)))),
  Softplus: unary((b, g, x) => b.mul(g, sigmoid(b, x))),
  Softsign: unary((b, g, x) => {
    const d = b.add(b.emit('Abs', [x]), 1)
    return b.div(g, b.mul(d, d))
  }),
  Swish: unary((b, g, x, y, node) => {
    const alpha = intAttribute(node.attributes, 'alpha', 1)
    const s = sigmoid(b, b.mul(x, alpha))
    return b.mul(g, b.add(s, b.mul(b.mul(y, complement(b, s)), alpha)))
  }),
  Mish: unary((b, g, x) => {
    const t = b.emit('Tanh', [b.emit('Softplus', [x])])
    return b.mul(g, b.add(t, b.mul(b.mul(x, sigmoid(b, x)), complement(b, b.mul(t, t)))))
  }),
  HardSigmoid: unary((b, g, _x, y, node) => {
    const inside = b.mul(above(b, y, 0), complement(b, b.cast(b.emit('GreaterOrEqual', [y, b.scalar(1)]), 'float32')))
    return b.mul(g, b.mul(inside, intAttribute(node.attributes, 'alpha', 0.2)))
  }),
  HardSwish: unary((b, g, x) => {
    const [up, top] = [above(b, x, -3), above(b, x, 3)]
    return b.mul(g, b.add(b.mul(b.mul(up, complement(b, top)), b.add(b.mul(x, 1 / 3), 0.5)), top))
  }),
  ThresholdedRelu: unary((b, g, x, _y, node) => b.mul(g, above(b, x, intAttribute(node.attributes, 'alpha', 1)))),
  Shrink: unary((b, g, x, _y, node) =>
    b.mul(g, above(b, b.emit('Abs', [x]), intAttribute(node.attributes, 'lambd', 0.5))),
  ),
  Softmax: softmax,
  Hardmax: noGradient,
  LogSoftmax: logSoftmax,
}
