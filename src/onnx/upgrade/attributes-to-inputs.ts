import type { DraftNode } from '../draft.js'
import { type Context, type Plain, replace, without } from './context.js'
import type { Step } from './step.js'

/** Changes that made an attribute an input and left the meaning as it was. */
export const attributesToInputs: readonly Step[] = [
  { since: 10, ops: ['Slice'], rewrite: slice },
  { since: 10, ops: ['TopK'], rewrite: topK },
  { since: 11, ops: ['Pad'], rewrite: pad },
  { since: 11, ops: ['Clip'], rewrite: clip },
  { since: 12, ops: ['Dropout'], rewrite: dropout },
  { since: 13, ops: ['Squeeze', 'Unsqueeze', 'ReduceSum'], rewrite: (node, context) => vector(node, context, 'axes') },
  { since: 13, ops: ['Split'], rewrite: (node, context) => vector(node, context, 'split') },
  {
    since: 18,
    ops: [
      'ReduceL1',
      'ReduceL2',
      'ReduceLogSum',
      'ReduceLogSumExp',
      'ReduceMax',
      'ReduceMean',
      'ReduceMin',
      'ReduceProd',
      'ReduceSumSquare',
    ],
    rewrite: (node, context) => vector(node, context, 'axes'),
  },
  { since: 20, ops: ['DFT'], rewrite: dft },
]

/** A vector attribute becomes the second input. Absent or empty, it means the same as the input left out. */
function vector(node: DraftNode, context: Context, attribute: string): DraftNode {
  const values = context.integers(node, attribute) ?? []
  const inputs = node.inputs.slice(0, 1)
  if (values.length > 0) inputs.push(context.ints(values, attribute))
  return { ...node, inputs, attributes: without(node.attributes, attribute) }
}

function slice(node: DraftNode, context: Context): DraftNode {
  const inputs = [node.inputs[0]]
  for (const name of ['starts', 'ends', 'axes']) {
    const values = context.integers(node, name)
    if (values !== undefined && (name !== 'axes' || values.length > 0)) inputs.push(context.ints(values, name))
  }
  return { ...node, inputs, attributes: without(node.attributes, 'starts', 'ends', 'axes') }
}

function topK(node: DraftNode, context: Context): DraftNode {
  const k = context.ints([context.integer(node, 'k')], 'k')
  return { ...node, inputs: [node.inputs[0], k], attributes: without(node.attributes, 'k') }
}

function pad(node: DraftNode, context: Context): DraftNode[] {
  const [data] = node.inputs
  const { value } = node.attributes
  const inputs = [data, context.ints(context.integers(node, 'pads') ?? [], 'pads')]
  const before: Plain[] = []
  if (typeof value === 'number' && value !== 0) {
    const constant = context.floatLike(value, data, 'pad_value')
    inputs.push(constant.name)
    before.push(...constant.nodes)
  }
  return replace(node, [...before, { ...node, inputs, attributes: without(node.attributes, 'pads', 'value') }])
}

/** The bounds' defaults were the ends of float32; an input left out means no bound. */
function clip(node: DraftNode, context: Context): DraftNode[] {
  const [data] = node.inputs
  const before: Plain[] = []
  const bounds = ['min', 'max'].map((name) => {
    const value = node.attributes[name]
    if (typeof value !== 'number' || Math.abs(value) >= 3.4028234e38) return ''
    const constant = context.floatLike(value, data, name)
    before.push(...constant.nodes)
    return constant.name
  })
  return replace(node, [
    ...before,
    { ...node, inputs: [data, ...bounds], attributes: without(node.attributes, 'min', 'max') },
  ])
}

/** Opset 10 made the mask bool; before it had the type of the data. */
function dropout(node: DraftNode, context: Context): DraftNode[] {
  const { ratio = 0.5 } = node.attributes
  const [data] = node.inputs
  const [output, mask = ''] = node.outputs
  const inputs = [data, context.scalar('float32', Number(ratio), 'ratio')]
  if (mask === '' || node.opset >= 10) return [{ ...node, inputs, attributes: {} }]
  const bool = context.fresh(`${mask}_bool`)
  return replace(node, [
    { op: 'Dropout', inputs, outputs: [output, bool] },
    { op: 'CastLike', inputs: [bool, data], outputs: [mask] },
  ])
}

function dft(node: DraftNode, context: Context): DraftNode {
  const axis = context.integer(node, 'axis', 1)
  const [data, length = ''] = node.inputs
  const inputs = [data, length, context.scalar('int64', axis, 'axis')]
  return { ...node, inputs, attributes: without(node.attributes, 'axis') }
}
