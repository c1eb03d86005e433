import { intAttribute, type Value } from '../../ir.js'
import { type ComposedNode, fixed, knownInts, required } from '../composition.js'

/** CumProd along one axis, product by product. */
export function cumulativeProduct(node: ComposedNode): readonly Value[] {
  const { b, attributes } = node
  const x = required(node, 0)
  const rank = x.shape.length
  const axis = (knownInts(node, 1, 'the axis')[0] + rank) % rank
  const [size] = fixed(x, [axis], 'the axis')
  const reverse = intAttribute(attributes, 'reverse', 0) === 1
  const exclusive = intAttribute(attributes, 'exclusive', 0) === 1
  const results: Value[] = []
  let product: Value | undefined
  for (let i = 0; i < size; i++) {
    const at = reverse ? size - 1 - i : i
    const piece = b.slice(x, [at], [at + 1], [axis])
    const before = product
    product = before === undefined ? piece : b.mul(before, piece)
    results.push(exclusive ? (before ?? b.expand(b.scalar(1, x.dtype), piece.shape)) : product)
  }
  return [b.concat(reverse ? results.reverse() : results, axis)]
}
