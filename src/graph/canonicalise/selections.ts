import { type Dim, multiplyDims, sameDim, sameShape } from '../dim.js'
import { intAttribute, type Node, type Value } from '../ir.js'
import { permutation } from './layout.js'
import type { Rule, Site } from './rule.js'
import { type Piece, pieceOf } from './splits.js'

const unary = new Set([
  ...[
    'Gelu',
    'Relu',
    'Sigmoid',
    'Tanh',
    'Erf',
    'Exp',
    'Sqrt',
    'Neg',
    'Abs',
    'Log',
    'Reciprocal',
    'HardSwish',
    'HardSigmoid',
  ],
  ...['LeakyRelu', 'Elu', 'Selu', 'Softplus', 'Cast'],
])
const binary = new Set(['Add', 'Sub', 'Mul', 'Div', 'Pow', 'Max', 'Min'])

/**
 * Slice(f(x)) → f(Slice(x)) where f treats the positions of that axis alone and nobody reads the rest. A classifier that looks
 * at the class token only then needs the last block's MLP, projection and queries for one token: about 7 % of a ViT of 12 blocks.
 */
export const selectionFirst: Rule = (site) => {
  const { node, users } = site
  const piece = node.op === 'Slice' ? pieceOf(node) : undefined
  const source = node.inputs[0]
  if (piece === undefined || source === undefined || source.producer === undefined) return undefined
  // The same part is all anyone wants of it.
  for (const user of users(source)) {
    const other = user.op === 'Slice' ? pieceOf(user) : undefined
    if (other?.axis !== piece.axis || other.start !== piece.start || other.count !== piece.count) return undefined
  }
  const producer = site.inputs[0]?.producer
  if (producer === undefined || producer.outputs.length > 1) return undefined
  const moved = moveAbove(site, producer, piece)
  return moved && sameShape(moved.shape, node.outputs[0].shape) ? [moved] : undefined
}

function moveAbove({ b }: Site, f: Node, piece: Piece): Value | undefined {
  const { shape } = f.outputs[0]
  const rank = shape.length
  const cut = (value: Value, axis = piece.axis) => b.slice(value, [piece.start], [piece.start + piece.count], [axis])
  const [x, y] = f.inputs
  if (x === undefined) return undefined
  if (unary.has(f.op)) return b.emit(f.op, [cut(x)], f.attributes)
  if (binary.has(f.op)) {
    const operands = f.inputs.map((input) => {
      const axis = piece.axis - (rank - (input?.shape.length ?? 0))
      return input === undefined || axis < 0 || input.shape[axis] === 1 ? input : cut(input, axis)
    })
    return b.emit(f.op, operands, f.attributes)
  }
  switch (f.op) {
    case 'LayerNormalization':
    case 'RMSNormalization':
    case 'Softmax':
    case 'LogSoftmax': {
      const axis = intAttribute(f.attributes, 'axis', -1)
      const first = axis < 0 ? axis + rank : axis
      const apart = f.op.endsWith('Softmax') ? piece.axis !== first : piece.axis < first
      return apart ? b.emit(f.op, [cut(x), ...f.inputs.slice(1)], f.attributes) : undefined
    }
    case 'MatMul': {
      if (y === undefined || x.shape.length < 2 || y.shape.length < 2) return undefined
      if (piece.axis === rank - 2) return b.matMul(cut(x, x.shape.length - 2), y)
      // Along the columns and the batch axes it would cut weights.
      return undefined
    }
    case 'Transpose':
      return b.transpose(cut(x, permutation(f)[piece.axis]), permutation(f))
    case 'Reshape': {
      const axis = sameAxis(x.shape, shape, piece.axis)
      if (axis === undefined) return undefined
      const target = shape.map((dim, i) => (i === piece.axis ? piece.count : dim))
      return b.reshape(cut(x, axis), target)
    }
    default:
      return undefined
  }
}

/** The axis of `from` that a reshape to `to` keeps as `axis`. */
function sameAxis(from: readonly Dim[], to: readonly Dim[], axis: number): number | undefined {
  const before = product(to.slice(0, axis))
  for (let i = 0; i < from.length; i++) {
    const lead = product(from.slice(0, i))
    if (before !== undefined && lead !== undefined && sameDim(lead, before) && sameDim(from[i], to[axis])) return i
  }
  return undefined
}

const product = (dims: readonly Dim[]): Dim | undefined =>
  dims.reduce<Dim | undefined>((size, dim) => size && multiplyDims(size, dim), 1)
