import { intsAttribute, type Value } from '../../ir.js'
import { type ComposedNode, fixed, knownInts, required } from '../composition.js'

/** CenterCropPad: each axis cropped or padded with zeros about its middle to the size asked for. */
export function centreCropPad(node: ComposedNode): readonly Value[] {
  const { b, attributes } = node
  const x = required(node, 0)
  const wanted = knownInts(node, 1, 'the size to crop or pad to')
  const rank = x.shape.length
  const axes = (intsAttribute(attributes, 'axes') ?? wanted.map((_, i) => i)).map((axis) => (axis + rank) % rank)
  const sizes = fixed(x, axes, 'the axis to crop or pad')
  const starts = sizes.map((size, i) => (size > wanted[i] ? Math.floor((size - wanted[i]) / 2) : 0))
  const ends = sizes.map((size, i) => starts[i] + Math.min(size, wanted[i]))
  const cropped = starts.every((start, i) => start === 0 && ends[i] === sizes[i]) ? x : b.slice(x, starts, ends, axes)
  const before = sizes.map((size, i) => Math.max(0, Math.floor((wanted[i] - size) / 2)))
  const after = sizes.map((size, i) => Math.max(0, wanted[i] - size) - before[i])
  if ([...before, ...after].every((pad) => pad === 0)) return [cropped]
  return [b.emit('Pad', [cropped, b.ints([...before, ...after]), undefined, b.ints(axes)])]
}
