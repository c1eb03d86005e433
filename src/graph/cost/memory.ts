import { bytesOf as elementBytes } from '../../onnx/index.js'
import type { Graph, Node, Value } from '../ir.js'
import { count } from './flops.js'

export const bytesOf = (value: Value, batch = 1): number => count(value.shape, batch) * elementBytes(value.dtype)

/** Operators whose result is the storage of their first input. */
const views = new Set(['Reshape', 'Squeeze', 'Unsqueeze', 'Flatten', 'Identity', 'Dropout'])

/** The value whose storage `value` is a view of. */
export function storageOf(value: Value): Value {
  let at = value
  for (;;) {
    const node = at.producer
    if (node === undefined || !views.has(node.op) || node.inputs[0] === undefined) return at
    at = node.inputs[0]
  }
}

/** Operators whose gradient is made from their result. */
const keepsOutput = new Set(['Softmax', 'LogSoftmax', 'Relu', 'Sigmoid', 'Tanh', 'Exp', 'Sqrt', 'Reciprocal'])
/** Operators whose gradient with respect to the data needs nothing of them, weights apart. */
const keepsNothing = new Set([
  ...[
    'Add',
    'Sub',
    'Neg',
    'Sum',
    'Mean',
    'Transpose',
    'Slice',
    'Split',
    'Concat',
    'Pad',
    'Gather',
    'GatherND',
    'Expand',
    'Tile',
  ],
  ...['Cast', 'AveragePool', 'GlobalAveragePool', 'ReduceMean', 'ReduceSum', 'DepthToSpace', 'SpaceToDepth', 'Resize'],
  ...['BatchNormalization', 'Where', 'Shape', 'Size', 'Floor', 'Ceil', 'Round', 'Sign'],
])

/**
 * What one node asks the forward pass to keep for the gradient to the image: both operands of a product of activations, the input
 * of a nonlinearity, the result of a softmax or ReLU. A layer with constant weights keeps nothing.
 */
export function keptBy(node: Node, varies: (value: Value | undefined) => boolean): Value[] {
  if (views.has(node.op) || keepsNothing.has(node.op)) return []
  if (keepsOutput.has(node.op)) return [node.outputs[0]]
  const data = node.inputs.filter((input): input is Value => varies(input))
  switch (node.op) {
    case 'MatMul':
    case 'Gemm':
    case 'Conv':
    case 'ConvTranspose':
    case 'Mul':
      return data.length > 1 ? data : []
    case 'Div':
      return varies(node.inputs[1]) ? data : []
    case 'MaxPool':
      return [node.inputs[0]!]
    default:
      return data
  }
}

/** Most bytes alive at once in a forward pass in graph order, each value freed after its last use; constants not counted. */
export function peakLive(graph: Graph, batch = 1): number {
  const lastUse = new Map<Value, number>()
  graph.nodes.forEach((node, i) => {
    for (const value of [...node.outputs, ...node.inputs])
      if (value !== undefined && value.constant === undefined) lastUse.set(storageOf(value), i)
  })
  for (const output of graph.outputs) lastUse.set(storageOf(output), graph.nodes.length)
  const freed = new Map<number, number>()
  for (const [value, at] of lastUse) freed.set(at, (freed.get(at) ?? 0) + bytesOf(value, batch))
  let live = graph.inputs.reduce((sum, input) => sum + bytesOf(input, batch), 0)
  let peak = live
  graph.nodes.forEach((node, i) => {
    for (const output of node.outputs) if (storageOf(output) === output) live += bytesOf(output, batch)
    peak = Math.max(peak, live)
    live -= freed.get(i) ?? 0
  })
  return peak
}
