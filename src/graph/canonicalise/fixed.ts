import { evaluate } from '../../interpreter/index.js'
import { numbersOf, tensorFromNumbers } from '../../tensor/index.js'
import { isBatch } from '../dim.js'
import type { Rule } from './rule.js'

/** Results and operands larger than this are weights; rearranging them is left to the runtime. */
const LIMIT = 1 << 18

/**
 * What is computed from parameters alone (masks written as initialisers, position tables, the bias network of Swin V2) → its
 * result, where the parameters will not change.
 */
export const fixedParameters: Rule = ({ node, inputs, b, keepParameters }) => {
  if (keepParameters || !inputs.some((input) => input?.parameter)) return undefined
  const arrays = []
  for (const input of inputs) {
    if (input === undefined) arrays.push(undefined)
    else if (input.constant === undefined || input.constant.data.length > LIMIT) return undefined
    else arrays.push({ dtype: input.dtype, shape: input.constant.shape, data: numbersOf(input.constant) })
  }
  if (node.outputs.some(({ shape }) => shape.some(isBatch) || (shape as number[]).reduce((a, n) => a * n, 1) > LIMIT))
    return undefined
  return evaluate(node.op, node.attributes, arrays, node.outputs.length).map(({ shape, data }, i) =>
    b.constant(tensorFromNumbers(node.outputs[i].dtype, shape, data), node.outputs[i].name),
  )
}
