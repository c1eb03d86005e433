import type { Dim, GraphBuilder, Value } from '../../graph/index.js'

/**
 * The transpose of taking `indices` (one axis) along `axis`: adds each slice of g at its index of a zero tensor of `shape`, equal
 * indices adding up.
 */
export function scatterAlong(b: GraphBuilder, g: Value, axis: number, indices: Value, shape: readonly Dim[]): Value {
  const positions = b.reshape(
    indices,
    g.shape.map((dim, i) => (i === axis ? dim : 1)),
  )
  const target = shape.map((dim, i) => (i === axis ? dim : g.shape[i]))
  return b.emit('ScatterElements', [b.full(target, 0), b.expand(positions, g.shape), g], { axis, reduction: 'add' })
}
