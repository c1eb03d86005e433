import { intAttribute, type Value } from '../../graph/index.js'
import { numbersOf } from '../../tensor/index.js'

/** Channel c of the value is scale[c]·image[source[c]] + shift[c]. */
export interface Affine {
  readonly source: readonly number[]
  readonly scale: readonly number[]
  readonly shift: readonly number[]
}

/** How a value follows from the images channel by channel; undefined where it does not. */
export function affineOf(value: Value, images: Value, channels: number): Affine | undefined {
  if (value === images) {
    // Fewer channels that a constant repeats are no preprocessing.
    if (images.shape[1] !== channels) return undefined
    return {
      source: Array.from({ length: channels }, (_, c) => c),
      scale: new Array(channels).fill(1),
      shift: new Array(channels).fill(0),
    }
  }
  const node = value.producer
  if (node === undefined) return undefined
  const [x, y] = node.inputs
  if (x === undefined || y?.constant === undefined) return undefined
  const inner = affineOf(x, images, channels)
  if (inner === undefined) return undefined
  if (node.op === 'Gather') {
    const order = Array.from(numbersOf(y.constant))
    if (intAttribute(node.attributes, 'axis', 0) !== 1 || order.length !== channels) return undefined
    const pick = (list: readonly number[]): number[] => order.map((at) => list[(at + channels) % channels])
    return { source: pick(inner.source), scale: pick(inner.scale), shift: pick(inner.shift) }
  }
  const operand = perChannel(y.constant.shape, numbersOf(y.constant), channels)
  if (operand === undefined) return undefined
  const { source, scale, shift } = inner
  switch (node.op) {
    case 'Add':
      return { source, scale, shift: shift.map((s, c) => s + operand[c]) }
    case 'Sub':
      return { source, scale, shift: shift.map((s, c) => s - operand[c]) }
    case 'Mul':
      return { source, scale: scale.map((s, c) => s * operand[c]), shift: shift.map((s, c) => s * operand[c]) }
    case 'Div':
      return { source, scale: scale.map((s, c) => s / operand[c]), shift: shift.map((s, c) => s / operand[c]) }
    default:
      return undefined
  }
}

function perChannel(shape: readonly number[], values: Float64Array, channels: number): number[] | undefined {
  if (values.length === 1) return new Array(channels).fill(values[0])
  const axes = [...new Array(Math.max(0, 4 - shape.length)).fill(1), ...shape]
  const plain = axes.length === 4 && axes[0] === 1 && axes[1] === channels && axes[2] === 1 && axes[3] === 1
  return plain ? [...values] : undefined
}
