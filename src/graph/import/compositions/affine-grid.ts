import { ModelError } from '../../../errors/index.js'
import { float32Tensor } from '../../../tensor/index.js'
import { isBatch } from '../../dim.js'
import { intAttribute, type Value } from '../../ir.js'
import { type ComposedNode, required } from '../composition.js'

/** AffineGrid: theta [N,2,3] (or [N,3,4]) and the size [N,C,(D,)H,W] → [N,(D,)H,W,2 or 3], x before y before z. */
export function affineGrid(node: ComposedNode): readonly Value[] {
  const { b, attributes } = node
  const theta = required(node, 0)
  const { known } = required(node, 1)
  const size = known?.slice(2)
  if (size === undefined || size.some(isBatch))
    throw new ModelError('OPERATOR_UNSUPPORTED', 'the size of the grid must follow from sizes', {})
  const sizes = size as number[]
  const corners = intAttribute(attributes, 'align_corners', 0) === 1
  const at = (i: number, n: number): number => (corners ? (n === 1 ? 0 : -1 + (2 * i) / (n - 1)) : (2 * i + 1) / n - 1)
  const points = sizes.reduce((n, s) => n * s, 1)
  const rank = sizes.length
  const grid = new Float32Array(points * (rank + 1))
  for (let p = 0; p < points; p++) {
    let rest = p
    for (let axis = rank - 1; axis >= 0; axis--) {
      grid[p * (rank + 1) + (rank - 1 - axis)] = at(rest % sizes[axis], sizes[axis])
      rest = Math.floor(rest / sizes[axis])
    }
    grid[p * (rank + 1) + rank] = 1
  }
  const base = b.constant(float32Tensor([1, points, rank + 1], grid), 'grid')
  return [b.reshape(b.matMul(base, b.matrixTranspose(theta)), [theta.shape[0], ...sizes, rank])]
}
