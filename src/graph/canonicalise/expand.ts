import { sameShape } from '../dim.js'
import type { Rule } from './rule.js'

const broadcasting = new Set(['Add', 'Sub', 'Mul', 'Div', 'Where', 'Equal', 'Max', 'Min'])

/** Elementwise operators broadcast by themselves: an Expand in front of one goes where another operand has the full shape. */
export const expandedOperand: Rule = ({ node, inputs, b }) => {
  if (!broadcasting.has(node.op)) return undefined
  const { shape } = node.outputs[0]
  const sources = inputs.map((input) => (input?.producer?.op === 'Expand' ? input.producer.inputs[0] : undefined))
  const full = inputs.findIndex(
    (input, i) => sources[i] === undefined && input !== undefined && sameShape(input.shape, shape),
  )
  if (full < 0 || sources.every((source) => source === undefined)) return undefined
  return [
    b.emit(
      node.op,
      inputs.map((input, i) => sources[i] ?? input),
      node.attributes,
    ),
  ]
}
