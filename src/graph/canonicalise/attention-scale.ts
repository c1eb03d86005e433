import type { GraphBuilder } from '../builder.js'
import type { Value } from '../ir.js'
import { permutation } from './layout.js'
import { eitherWay, madeBy, scalarOf } from './match.js'
import type { Rule, Site } from './rule.js'

/**
 * (s·q)(t·k)ᵀ → (s·t·q)kᵀ: fused attention is exported with d^-¼ on both operands. One factor on the smaller operand costs half
 * as much, forward and backward.
 */
export const attentionScale: Rule = ({ node, inputs, b, keepParameters }) => {
  if (node.op !== 'MatMul' || inputs[0] === undefined || inputs[1] === undefined) return undefined
  const left = unscaled(inputs[0], b, keepParameters)
  const right = unscaled(inputs[1], b, keepParameters)
  if (left === undefined || right === undefined) return undefined
  return [b.matMul(b.mul(left.value, left.factor * right.factor), right.value)]
}

/** `value` without the number it is multiplied by, looking past transposes. */
function unscaled(
  value: Value,
  b: GraphBuilder,
  keepParameters: Site['keepParameters'],
): { value: Value; factor: number } | undefined {
  const number = (operand: Value | undefined) => (operand?.parameter && keepParameters ? undefined : scalarOf(operand))
  const product = madeBy(value, 'Mul')
  if (product !== undefined)
    for (const [x, operand] of eitherWay(product.inputs)) {
      const factor = number(operand)
      if (factor !== undefined && x.shape.length === value.shape.length) return { value: x, factor }
    }
  const quotient = madeBy(value, 'Div')
  if (quotient?.inputs[0] !== undefined && quotient.inputs[0].shape.length === value.shape.length) {
    const divisor = number(quotient.inputs[1])
    if (divisor !== undefined && divisor !== 0) return { value: quotient.inputs[0], factor: 1 / divisor }
  }
  const transpose = madeBy(value, 'Transpose')
  if (transpose?.inputs[0] !== undefined) {
    const inner = unscaled(transpose.inputs[0], b, keepParameters)
    if (inner !== undefined) return { value: b.transpose(inner.value, permutation(transpose)), factor: inner.factor }
  }
  return undefined
}
