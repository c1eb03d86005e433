import { elementCount } from '../../tensor/index.js'
import { type Dim, sizeAt } from '../dim.js'
import { intsAttribute, type Node, type Value } from '../ir.js'

/** Operators that move or select and compute nothing. */
const free = new Set([
  ...[
    'Reshape',
    'Transpose',
    'Squeeze',
    'Unsqueeze',
    'Flatten',
    'Identity',
    'Cast',
    'Dropout',
    'Expand',
    'Tile',
    'Shape',
    'Size',
  ],
  ...['Slice', 'Split', 'Concat', 'Pad', 'Gather', 'GatherElements', 'GatherND', 'DepthToSpace', 'SpaceToDepth'],
  ...['Constant', 'ConstantOfShape', 'Range', 'ScatterND', 'ScatterElements', 'CastLike'],
])

/** Floating-point operations for each element of the result, by convention: an exponential and the like count as one. */
const perElement: Readonly<Record<string, number>> = {
  Softmax: 5, // max, subtract, exp, sum, divide
  LogSoftmax: 5,
  LayerNormalization: 8, // two reductions, subtract, square, scale, multiply, multiply, add
  RMSNormalization: 5,
  GroupNormalization: 8,
  InstanceNormalization: 8,
  BatchNormalization: 2,
  Gelu: 5, // scale, erf, add, two multiplications
  HardSwish: 4,
  HardSigmoid: 3,
  Sigmoid: 3,
  Swish: 4,
  Clip: 2,
}

/**
 * Floating-point operations of one node at batch size `batch`; a multiply-add counts two, elementwise operators one an element
 * (see the table above), moving data none.
 */
export function flopsOf(node: Node, batch = 1): number {
  const output = count(node.outputs[0].shape, batch)
  const [a, b] = node.inputs
  switch (node.op) {
    case 'MatMul':
      return 2 * output * depth(a, batch)
    case 'Gemm': {
      const inner = node.attributes.transA === 1 ? a?.shape[0] : a?.shape[1]
      return output * (2 * sizeAt(inner ?? 0, batch) + (node.inputs[2] === undefined ? 0 : 1))
    }
    case 'Conv': {
      // [out, in/groups, kernel…]: all but the first axis are summed over.
      const taps = elementCount((b?.shape.slice(1) ?? []) as number[])
      return output * (2 * taps + (node.inputs[2] === undefined ? 0 : 1))
    }
    case 'ConvTranspose': {
      const taps = elementCount((b?.shape.slice(1) ?? []) as number[])
      return 2 * count(a?.shape ?? [], batch) * taps + (node.inputs[2] === undefined ? 0 : output)
    }
    case 'Attention':
      return attentionFlops(node, batch)
    case 'MaxPool':
    case 'AveragePool':
    case 'LpPool':
      return output * elementCount(intsAttribute(node.attributes, 'kernel_shape') ?? [1])
    default:
      if (free.has(node.op)) return 0
      if (node.op.startsWith('Reduce') || node.op.startsWith('Global') || node.op.startsWith('Arg'))
        return count(a?.shape ?? [], batch)
      return output * (perElement[node.op] ?? 1)
  }
}

/** softmax(QKᵀ·scale)·V with q [.., n, d], k [.., m, d], v [.., m, e]. */
function attentionFlops(node: Node, batch: number): number {
  const [query, key, value] = node.inputs
  if (query === undefined || key === undefined || value === undefined) return 0
  const keys = sizeAt(key.shape.at(-2) ?? 0, batch)
  const heads = query.shape.length === 4 ? sizeAt(query.shape[1], batch) : Number(node.attributes.q_num_heads ?? 1)
  const width = sizeAt(query.shape.at(-1) ?? 1, batch) / (query.shape.length === 4 ? 1 : heads)
  const scores = (count(query.shape, batch) / width) * keys
  return 2 * scores * width + 6 * scores + 2 * count(node.outputs[0].shape, batch) * keys
}

const depth = (a: Value | undefined, batch: number): number => sizeAt(a?.shape.at(-1) ?? 0, batch)

export const count = (shape: readonly Dim[], batch: number): number =>
  shape.reduce<number>((product, dim) => product * sizeAt(dim, batch), 1)
