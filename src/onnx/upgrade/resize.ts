import { float32Tensor } from '../../tensor/index.js'
import type { DraftNode } from '../draft.js'
import { type Context, without } from './context.js'
import type { Step } from './step.js'

export const resize: readonly Step[] = [
  { since: 9, ops: ['Upsample'], rewrite: scalesToInput },
  { since: 10, ops: ['Upsample'], rewrite: (node) => ({ ...node, op: 'Resize' }) },
  { since: 11, ops: ['Resize'], rewrite: sayCoordinates },
  { since: 13, ops: ['Resize'], rewrite: dropUnused },
]

function scalesToInput(node: DraftNode, context: Context): DraftNode {
  const { scales } = node.attributes
  const values = Array.isArray(scales) ? scales.map(Number) : []
  const name = context.constant(float32Tensor([values.length], values), 'scales')
  return { ...node, inputs: [node.inputs[0], name], attributes: without(node.attributes, 'scales') }
}

/** Until opset 11 the output coordinate was divided by the scale and, for `nearest`, rounded down. */
function sayCoordinates(node: DraftNode): DraftNode {
  const [data, scales] = node.inputs
  const mode = node.attributes.mode === 'bilinear' ? 'linear' : (node.attributes.mode ?? 'nearest')
  return {
    ...node,
    inputs: [data, '', scales],
    attributes: { mode, coordinate_transformation_mode: 'asymmetric', nearest_mode: 'floor' },
  }
}

/** Opset 11 demanded `roi` and `scales` as empty tensors even where they were not used; now they are left out. */
function dropUnused(node: DraftNode, context: Context): DraftNode {
  const mode = node.attributes.coordinate_transformation_mode
  if (mode === 'tf_half_pixel_for_nn')
    throw context.refuse(node, 'the mode tf_half_pixel_for_nn, which opset 13 took away', 'Export at a newer opset.')
  const [data, roi = '', scales = '', sizes = ''] = node.inputs
  const inputs = [data, mode === 'tf_crop_and_resize' ? roi : '', sizes === '' ? scales : '']
  return { ...node, inputs: sizes === '' ? inputs : [...inputs, sizes] }
}
