import type { DraftNode } from '../draft.js'
import { type Context, replace } from './context.js'
import type { Step } from './step.js'

/**
 * Before opset 13 these flattened their input to a matrix at `axis` (default 1) and normalised its rows. That is the
 * plain operator where `axis` is the last one, as in nearly every export; elsewhere, or where the rank is not known, the
 * flattening is written out: Flatten, the operator over the last axis, Reshape to the input's shape.
 */
export const softmax: readonly Step[] = [{ since: 13, ops: ['Softmax', 'LogSoftmax', 'Hardmax'], rewrite }]

function rewrite(node: DraftNode, context: Context): DraftNode | DraftNode[] {
  const axis = context.integer(node, 'axis', 1)
  const [input] = node.inputs
  const rank = context.rankOf(input)
  if (axis === -1 || (rank !== undefined && axis === rank - 1)) return { ...node, attributes: { axis: -1 } }
  const [output] = node.outputs
  const [shape, flat, normalised] = ['shape', 'flat', 'flat_result'].map((hint) => context.fresh(`${output}_${hint}`))
  return replace(node, [
    { op: 'Shape', inputs: [input], outputs: [shape] },
    { op: 'Flatten', inputs: [input], outputs: [flat], attributes: { axis } },
    { op: node.op, inputs: [flat], outputs: [normalised], attributes: { axis: -1 } },
    { op: 'Reshape', inputs: [normalised, shape], outputs: [output], attributes: { allowzero: 1 } },
  ])
}
