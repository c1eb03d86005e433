import { type Dim, isBatch, sameShape } from '../dim.js'
import { intAttribute, type Value } from '../ir.js'
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

/** max(x, 0) in other spellings → Relu. */
export const relu: Rule = ({ node, inputs, b }) => {
  if (inputs[0] === undefined) return undefined
  if (node.op === 'Clip') {
    const high = inputs[2] === undefined ? Number.POSITIVE_INFINITY : scalarOf(inputs[2])
    return scalarOf(inputs[1]) === 0 && high !== undefined && high > 3e38 ? [b.emit('Relu', [inputs[0]])] : undefined
  }
  if (node.op === 'LeakyRelu' && node.attributes.alpha === 0) return [b.emit('Relu', [inputs[0]])]
  if (node.op === 'Max' && inputs.length === 2)
    for (const [x, bound] of eitherWay(inputs))
      if (scalarOf(bound) === 0 && sameShape(x.shape, node.outputs[0].shape)) return [b.emit('Relu', [x])]
  return undefined
}

/** Constant padding with zeros in front of a convolution → padding of the convolution. */
export const convolutionPadding: Rule = ({ node, inputs, b }) => {
  if (node.op !== 'Conv') return undefined
  const pad = inputs[0]?.producer
  if (pad?.op !== 'Pad' || (pad.attributes.mode ?? 'constant') !== 'constant' || pad.inputs[0] === undefined)
    return undefined
  const rank = pad.inputs[0].shape.length
  if (pad.inputs[2] !== undefined && scalarOf(pad.inputs[2]) !== 0) return undefined
  const given = numbersIn(pad.inputs[1])
  const axes = pad.inputs[3] === undefined ? Array.from({ length: rank }, (_, i) => i) : numbersIn(pad.inputs[3])
  if (given === undefined || axes === undefined || given.some((size) => size < 0)) return undefined
  const autoPad = node.attributes.auto_pad
  if (autoPad !== undefined && autoPad !== 'NOTSET' && autoPad !== 'VALID') return undefined
  const spatial = rank - 2
  const old = autoPad === 'VALID' ? undefined : (node.attributes.pads as readonly number[] | undefined)
  const pads = old === undefined ? new Array<number>(2 * spatial).fill(0) : [...old]
  for (let i = 0; i < axes.length; i++) {
    const axis = (axes[i] < 0 ? axes[i] + rank : axes[i]) - 2
    if (axis < 0) {
      if (given[i] !== 0 || given[i + axes.length] !== 0) return undefined
      continue
    }
    pads[axis] += given[i]
    pads[axis + spatial] += given[i + axes.length]
  }
  const { auto_pad: _, ...attributes } = node.attributes
  return [
    b.emit('Conv', [pad.inputs[0], ...inputs.slice(1)], {
      ...attributes,
      pads,
      group: intAttribute(attributes, 'group', 1),
    }),
  ]
}

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
