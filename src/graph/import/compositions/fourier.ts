import { float32Tensor } from '../../../tensor/index.js'
import { intAttribute, type Value } from '../../ir.js'
import { type ComposedNode, fixed, knownInts, required } from '../composition.js'

/**
 * DFT as a product with cosines and sines: real [..., n, ..., 1] or complex [..., n, ..., 2] → complex; real again for the inverse of half
 * a spectrum. Networks that mix tokens in the
 * frequency domain (GFNet) transform 7 to 32 positions, where that is no slower than a fast transform.
 */
export function fourierTransform(node: ComposedNode): readonly Value[] {
  const { b, attributes } = node
  const x = required(node, 0)
  const rank = x.shape.length
  const given = node.inputs[2] === undefined ? -2 : knownInts(node, 2, 'the axis')[0]
  const axis = (given + rank) % rank
  const [size, parts] = fixed(x, [axis, rank - 1], 'the axis that is transformed')
  const inverse = intAttribute(attributes, 'inverse', 0) === 1
  const onesided = intAttribute(attributes, 'onesided', 0) === 1
  const usual = inverse && onesided ? 2 * (size - 1) : size
  const length = node.inputs[1] === undefined ? usual : knownInts(node, 1, 'the length of the transform')[0]
  const half = Math.floor(length / 2) + 1
  const used = Math.min(size, inverse && onesided ? half : length)
  const [count, resultParts] = !onesided ? [length, 2] : inverse ? [length, 1] : [half, 2]

  // [used, parts of x, count, parts of the result]: what each number of x adds to each number of the result.
  const matrix = new Float32Array(used * parts * count * resultParts)
  const sign = inverse ? 1 : -1
  for (let from = 0; from < used; from++) {
    // Half of a spectrum stands for its mirror image too.
    const mirrored = inverse && onesided && from > 0 && 2 * from !== length
    const factor = (inverse ? 1 / length : 1) * (mirrored ? 2 : 1)
    for (let to = 0; to < count; to++) {
      const angle = (sign * 2 * Math.PI * ((from * to) % length)) / length
      const [real, imaginary] = [factor * Math.cos(angle), factor * Math.sin(angle)]
      const at = (part: number): number => ((from * parts + part) * count + to) * resultParts
      matrix[at(0)] = real
      if (resultParts === 2) matrix[at(0) + 1] = imaginary
      if (parts === 2) matrix[at(1)] = -imaginary
      if (parts === 2 && resultParts === 2) matrix[at(1) + 1] = real
    }
  }
  const cropped = used === size ? x : b.slice(x, [0], [used], [axis])
  const order = x.shape.map((_, i) => i).filter((i) => i !== axis && i !== rank - 1)
  const lead = order.map((i) => x.shape[i])
  const rows = b.reshape(b.transpose(cropped, [...order, axis, rank - 1]), [...lead, used * parts])
  const weights = b.constant(float32Tensor([used * parts, count * resultParts], matrix), 'waves')
  const transformed = b.reshape(b.matMul(rows, weights), [...lead, count, resultParts])
  const places = [...order, axis, rank - 1]
  return [
    b.transpose(
      transformed,
      x.shape.map((_, i) => places.indexOf(i)),
    ),
  ]
}
