import { type Dim, isBatch, sameShape } from '../dim.js'
import type { Value } from '../ir.js'
import { eitherWay, numbersIn, scalarOf } from './match.js'
import type { Rule, Site } from './rule.js'
import { uniformValue } from './uniform.js'

/** The number an operand may be for the operator to return the other one. */
const neutral: Readonly<Record<string, { right: number; left?: number }>> = {
  Add: { right: 0, left: 0 },
  Mul: { right: 1, left: 1 },
  Sub: { right: 0 },
  Div: { right: 1 },
  Pow: { right: 1 },
}

/** x·1, x + 0, x − 0, x / 1, x¹ → x, unless broadcasting grows it. */
export const neutralOperand: Rule = ({ node, inputs, keepParameters }) => {
  const element = neutral[node.op]
  if (element === undefined) return undefined
  const ways = element.left === undefined ? eitherWay(inputs).slice(0, 1) : eitherWay(inputs)
  for (const [x, operand] of ways)
    if (sameShape(x.shape, node.outputs[0].shape) && uniformValue(operand, keepParameters) === element.right) return [x]
  return undefined
}

/** Operators that return their first input as it is. */
export const nothingToDo: Rule = (site) => {
  const x = site.inputs[0]
  return x !== undefined && doesNothing(site, x) ? [x] : undefined
}

function doesNothing({ node, inputs }: Site, x: Value): boolean {
  const output = node.outputs[0]
  const same = sameShape(x.shape, output.shape)
  switch (node.op) {
    case 'Identity':
      return true
    case 'Dropout':
      return node.outputs.length === 1 && scalarOf(inputs[2]) !== 1
    case 'Cast':
      return x.dtype === output.dtype
    case 'Expand':
    case 'Reshape':
    case 'Flatten':
    case 'Squeeze':
    case 'Unsqueeze':
      return same
    case 'Tile':
      return numbersIn(inputs[1])?.every((repeat) => repeat === 1) === true
    case 'Pad':
      return numbersIn(inputs[1])?.every((pad) => pad === 0) === true
    case 'Slice':
      return same && (inputs[4] === undefined || numbersIn(inputs[4])?.every((step) => step === 1) === true)
    case 'Concat':
    case 'Split':
      return (
        inputs.filter((input) => input !== undefined).length <= (node.op === 'Concat' ? 1 : 2) &&
        node.outputs.length === 1
      )
    case 'Resize':
      // At scale 1 every sampling position is a pixel, however it is counted; a region of interest would move it.
      return same && node.attributes.coordinate_transformation_mode !== 'tf_crop_and_resize'
    case 'ReduceMean':
    case 'ReduceSum':
    case 'ReduceMax':
    case 'ReduceMin':
      return same && numbersIn(inputs[1])?.every((axis) => isOne(x.shape.at(axis))) === true
    case 'Max':
    case 'Min':
    case 'Sum':
    case 'Mean':
      return inputs.length === 1
    case 'GlobalAveragePool':
    case 'GlobalMaxPool':
      return same
    case 'AveragePool':
    case 'MaxPool':
      return (
        same &&
        node.outputs.length === 1 &&
        (node.attributes.kernel_shape as readonly number[]).every((size) => size === 1)
      )
    default:
      return false
  }
}

const isOne = (dim: Dim | undefined): boolean => dim !== undefined && !isBatch(dim) && dim === 1
