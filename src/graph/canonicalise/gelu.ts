import type { Node, Value } from '../ir.js'
import { arithmetic, combine, polynomialIn, samePolynomial } from './polynomial.js'
import type { Rule } from './rule.js'

const TANH_SCALE = Math.sqrt(2 / Math.PI)

/** What stands inside the erf or tanh, as a polynomial in x. Hendrycks & Gimpel 2016, both forms. */
const forms = {
  Erf: { approximate: 'none', inner: [{ '1,0': Math.SQRT1_2 }] },
  // 0.044715 and √(2/π) are sometimes written with fewer digits than float32 holds.
  Tanh: {
    approximate: 'tanh',
    inner: [
      { '1,0': TANH_SCALE, '3,0': 0.044715 * TANH_SCALE },
      { '1,0': 0.7978845608, '3,0': 0.044715 * 0.7978845608 },
    ],
  },
} as const

/** x·½·(1 + erf(x/√2)), or its tanh approximation, in any association → Gelu. */
export const gelu: Rule = ({ node, inputs, b }) => {
  if (node.op !== 'Mul' && node.op !== 'Add' && node.op !== 'Div') return undefined
  const t = findSigmoidal(inputs, 4)
  if (t === undefined) return undefined
  const form = forms[t.op as keyof typeof forms]
  const u = t.inputs[0]
  for (const x of subexpressions(u, 6)) {
    const inner = polynomialIn(u, x)
    if (!form.inner.some((wanted) => samePolynomial(inner, wanted))) continue
    const outer = combine(
      node.op,
      inputs,
      inputs.map((input) => polynomialIn(input, x, t.outputs[0])),
    )
    if (samePolynomial(outer, { '1,0': 0.5, '1,1': 0.5 }))
      return [b.emit('Gelu', [x], { approximate: form.approximate })]
  }
  return undefined
}

/** The Erf or Tanh above, past arithmetic only. */
function findSigmoidal(values: readonly (Value | undefined)[], depth: number): Node | undefined {
  for (const value of values) {
    const node = value?.producer
    if (node === undefined) continue
    if (node.op === 'Erf' || node.op === 'Tanh') return node
    const found = depth > 0 && arithmetic.has(node.op) ? findSigmoidal(node.inputs, depth - 1) : undefined
    if (found !== undefined) return found
  }
  return undefined
}

/** Every value `u` is computed from by arithmetic, `u` included. */
function subexpressions(u: Value | undefined, depth: number, found = new Set<Value>()): Set<Value> {
  if (u === undefined || u.constant !== undefined) return found
  found.add(u)
  if (depth > 0 && u.producer !== undefined && arithmetic.has(u.producer.op))
    for (const input of u.producer.inputs) subexpressions(input, depth - 1, found)
  return found
}
