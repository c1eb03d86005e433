import { intAttribute } from '../ir.js'
import { numbersIn, scalarOf } from './match.js'
import type { Rule } from './rule.js'

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
