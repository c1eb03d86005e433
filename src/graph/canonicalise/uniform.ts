import { evaluate } from '../../interpreter/index.js'
import { numbersOf } from '../../tensor/index.js'
import type { Value } from '../ir.js'

/** Larger constants are weights and are not searched. */
const SEARCH_LIMIT = 1 << 20

/** Operators whose result holds nothing but elements of their first input. */
const copies = new Set([
  'Expand',
  'Reshape',
  'Transpose',
  'Unsqueeze',
  'Squeeze',
  'Flatten',
  'Identity',
  'Slice',
  'Tile',
  'Gather',
])
/** Operators that work element by element. */
const pointwise = new Set([
  ...[
    'Add',
    'Sub',
    'Mul',
    'Div',
    'Neg',
    'Not',
    'And',
    'Or',
    'Equal',
    'Less',
    'Greater',
    'LessOrEqual',
    'GreaterOrEqual',
  ],
  ...['Where', 'Cast', 'IsNaN', 'IsInf'],
])

/**
 * The number that every element of `value` is, though its shape may hold N (a mask expanded over the batch is no constant, but it
 * is all ones). Parameters count as unknown where they may change.
 */
export function uniformValue(value: Value | undefined, keepParameters: boolean, depth = 12): number | undefined {
  if (value === undefined || depth === 0) return undefined
  if (value.constant !== undefined) {
    if ((value.parameter && keepParameters) || value.constant.data.length > SEARCH_LIMIT) return undefined
    const { data } = value.constant
    if (data.length === 0) return undefined
    for (let i = 1; i < data.length; i++) if (data[i] !== data[0]) return undefined
    return numbersOf({ dtype: value.dtype, shape: [1], data: data.subarray(0, 1) })[0]
  }
  const node = value.producer
  if (node === undefined) return undefined
  if (copies.has(node.op)) return uniformValue(node.inputs[0], keepParameters, depth - 1)
  if (node.op === 'ConstantOfShape') {
    const fill = node.attributes.value
    return typeof fill === 'object' && 'data' in fill ? numbersOf(fill)[0] : 0
  }
  if (!pointwise.has(node.op)) return undefined
  const operands = node.inputs.map((input) => uniformValue(input, keepParameters, depth - 1))
  if (operands.some((operand) => operand === undefined)) return undefined
  const arrays = operands.map((operand, i) => ({
    dtype: node.inputs[i]?.dtype ?? value.dtype,
    shape: [],
    data: Float64Array.of(operand as number),
  }))
  return evaluate(node.op, node.attributes, arrays, 1)[0].data[0]
}
