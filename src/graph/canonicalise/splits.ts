import { isBatch } from '../dim.js'
import { intAttribute, type Node, type Value } from '../ir.js'
import { numbersIn } from './match.js'
import type { Rule } from './rule.js'

/** A run of positions of one axis. */
export interface Piece {
  readonly axis: number
  readonly start: number
  readonly count: number
}

/**
 * Slices (or Gathers of one position each) that together cover an axis once → outputs of one Split: q, k and v of a packed
 * product. Its gradient is one Concat instead of a padded sum.
 */
export const siblingSlices: Rule = ({ node, inputs, b, users }) => {
  const source = node.inputs[0]
  const x = inputs[0]
  const own = pieceOf(node)
  if (source === undefined || x === undefined || own === undefined) return undefined
  const size = source.shape[own.axis]
  const pieces = new Map<number, Piece>()
  for (const user of users(source)) {
    const piece = user.inputs[0] === source ? pieceOf(user) : undefined
    if (piece?.axis !== own.axis) continue
    const there = pieces.get(piece.start)
    if (there !== undefined && there.count !== piece.count) return undefined
    pieces.set(piece.start, piece)
  }
  const sorted = [...pieces.values()].sort((p, q) => p.start - q.start)
  let end = 0
  for (const piece of sorted) {
    if (piece.start !== end) return undefined
    end += piece.count
  }
  if (end !== size || sorted.length < 2) return undefined
  const outputs = b.emitAll('Split', [x, b.ints(sorted.map(({ count }) => count))], { axis: own.axis }, sorted.length)
  const index = sorted.findIndex(({ start }) => start === own.start)
  return [b.reshape(outputs[index], node.outputs[0].shape)]
}

/** Gather of one position, or of a run of them → Slice: its gradient is a Pad instead of a scatter. */
export const gatheredRun: Rule = ({ node, inputs, b }) => {
  const x = inputs[0]
  if (node.op !== 'Gather' || x === undefined || x.constant !== undefined || x.dtype.includes('int')) return undefined
  const piece = pieceOf(node)
  if (piece === undefined) return undefined
  const slice = b.slice(x, [piece.start], [piece.start + piece.count], [piece.axis])
  return [b.reshape(slice, node.outputs[0].shape)]
}

/** What a Slice of one axis with step 1, or a Gather of consecutive positions, takes. */
export function pieceOf(node: Node): Piece | undefined {
  const x = node.inputs[0]
  if (x === undefined) return undefined
  if (node.op === 'Slice') return slicePiece(node, x)
  if (node.op !== 'Gather') return undefined
  const axis = fromFront(intAttribute(node.attributes, 'axis', 0), x.shape.length)
  const size = x.shape[axis]
  const indices = numbersIn(node.inputs[1])
  if (indices === undefined || indices.length === 0 || isBatch(size) || (node.inputs[1]?.shape.length ?? 2) > 1)
    return undefined
  const first = indices[0] < 0 ? indices[0] + size : indices[0]
  const run = indices.every((index, i) => (index < 0 ? index + size : index) === first + i)
  return run ? { axis, start: first, count: indices.length } : undefined
}

function slicePiece(node: Node, x: Value): Piece | undefined {
  const [starts, ends, axes, steps] = [1, 2, 3, 4].map((i) => numbersIn(node.inputs[i]))
  if (starts?.length !== 1 || ends === undefined || (steps !== undefined && steps[0] !== 1)) return undefined
  if (node.inputs[4] !== undefined && steps === undefined) return undefined
  const axis = fromFront(axes?.[0] ?? 0, x.shape.length)
  const size = x.shape[axis]
  const count = node.outputs[0].shape[axis]
  if (isBatch(size) || isBatch(count)) return undefined
  const start = Math.min(size, starts[0] < 0 ? Math.max(0, starts[0] + size) : starts[0])
  return { axis, start, count }
}

const fromFront = (axis: number, rank: number): number => (axis < 0 ? axis + rank : axis)
