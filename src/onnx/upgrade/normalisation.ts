import type { DraftNode } from '../draft.js'
import { type Context, replace, without } from './context.js'
import type { Step } from './step.js'

export const normalisation: readonly Step[] = [
  { since: 9, ops: ['BatchNormalization'], rewrite: spatialBatchNormalization },
  { since: 14, ops: ['BatchNormalization'], rewrite: batchNormalization },
  { since: 21, ops: ['GroupNormalization'], rewrite: groupNormalization },
]

/** `spatial = 0` had a mean and variance for every pixel; no later opset can say that. */
function spatialBatchNormalization(node: DraftNode, context: Context): DraftNode {
  if (node.attributes.spatial === 0)
    throw context.refuse(node, 'statistics per activation (spatial = 0)', 'Export the model again at opset 9 or newer.')
  return { ...node, attributes: without(node.attributes, 'spatial') }
}

/** Until opset 14 the number of outputs said whether it trains; the saved statistics, for a backward pass, are gone. */
function batchNormalization(node: DraftNode, context: Context): DraftNode {
  const outputs = node.outputs.slice(0, 3)
  while (outputs.length > 1 && outputs.at(-1) === '') outputs.pop()
  if (outputs.length === 1) return { ...node, outputs }
  while (outputs.length < 3) outputs.push(context.fresh(`${outputs[0]}_running`))
  return { ...node, outputs, attributes: { ...node.attributes, training_mode: 1 } }
}

/** Until opset 21 scale and bias had an element a group; now one a channel: each is repeated over its group's channels. */
function groupNormalization(node: DraftNode, context: Context): DraftNode | DraftNode[] {
  const [data, ...perGroup] = node.inputs
  const groups = context.integer(node, 'num_groups')
  // Exporters that took the newer form for the older opset wrote one a channel already.
  if (perGroup.every((name) => (context.lengthOf(name) ?? groups) !== groups)) return node
  const [output] = node.outputs
  const fresh = (hint: string): string => context.fresh(`${output}_${hint}`)
  const [channels, perGroupCount, target] = ['channels', 'group_size', 'group_shape'].map(fresh)
  const count = context.ints([groups], 'num_groups')
  const last = context.ints([-1], 'flat_shape')
  const axis = context.ints([1], 'axes')
  const repeated = perGroup.map((name) => {
    const [column, matrix, vector] = ['column', 'matrix', 'vector'].map((hint) => fresh(hint))
    return {
      vector,
      nodes: [
        { op: 'Unsqueeze', inputs: [name, axis], outputs: [column] },
        { op: 'Expand', inputs: [column, target], outputs: [matrix] },
        { op: 'Reshape', inputs: [matrix, last], outputs: [vector] },
      ],
    }
  })
  return replace(node, [
    { op: 'Shape', inputs: [data], outputs: [channels], attributes: { start: 1, end: 2 } },
    { op: 'Div', inputs: [channels, count], outputs: [perGroupCount] },
    { op: 'Concat', inputs: [count, perGroupCount], outputs: [target], attributes: { axis: 0 } },
    ...repeated.flatMap(({ nodes }) => nodes),
    { ...node, inputs: [data, ...repeated.map(({ vector }) => vector)] },
  ])
}
