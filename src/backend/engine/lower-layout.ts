import { intAttribute, intsAttribute, isBatch, type Node, sameDim, type Value } from '../../graph/index.js'
import { float32Tensor, int64Tensor, numbersOf, type Tensor } from '../../tensor/index.js'
import { integers, type Lowering, uncovered } from './lowering.js'
import { PlanBuffer } from './program.js'
import { broadcast, elementsOf, joined, shapeOf, sliced, transposed, type View, viewOf } from './view.js'

/** Operators that move elements: views where strides can say it, copies where they cannot. */
export type Handler = (lowering: Lowering, node: Node) => void

const input = (lowering: Lowering, node: Node, i = 0): View => lowering.view(node.inputs[i] as Value)

const reshape: Handler = (lowering, node) => {
  const [out] = node.outputs
  lowering.defer(out, () => lowering.reshape(input(lowering, node), out.shape, node.name))
}

const same: Handler = (lowering, node) => lowering.defer(node.outputs[0], () => input(lowering, node))

const transpose: Handler = (lowering, node) => {
  lowering.defer(node.outputs[0], () => {
    const view = input(lowering, node)
    return transposed(view, intsAttribute(node.attributes, 'perm') ?? view.axes.map((_, i) => view.axes.length - 1 - i))
  })
}

const expand: Handler = (lowering, node) =>
  lowering.define(node.outputs[0], broadcast(input(lowering, node), node.outputs[0].shape))

/** A slice of a view, or of its copy. */
function cut(
  lowering: Lowering,
  view: View,
  axis: number,
  start: number,
  size: number,
  step: number,
  name: string,
): View {
  return sliced(view, axis, start, size, step) ?? (sliced(lowering.copied(view, name), axis, start, size, step) as View)
}

const slice: Handler = (lowering, node) => {
  let view = input(lowering, node)
  const [out] = node.outputs
  const shape = shapeOf(view)
  const rank = shape.length
  const starts = integers(node.inputs[1])
  const [axes, steps] = [integers(node.inputs[3]), integers(node.inputs[4])]
  if (starts === undefined) throw uncovered(node.name, 'Slice from places that are not known')
  for (const [i, start] of starts.entries()) {
    const axis = ((axes?.[i] ?? i) + rank) % rank
    const step = steps?.[i] ?? 1
    const [size, count] = [shape[axis], out.shape[axis]]
    if (sameDim(size, count) && step === 1) continue
    if (isBatch(size) || isBatch(count)) throw uncovered(node.name, 'Slice of an axis that depends on the batch')
    if (step < 0) throw uncovered(node.name, 'Slice with a negative step')
    view = cut(
      lowering,
      view,
      axis,
      Math.min(Math.max(start < 0 ? start + size : start, 0), size),
      count,
      step,
      node.name,
    )
  }
  lowering.define(out, view)
}

const split: Handler = (lowering, node) => {
  const view = input(lowering, node)
  const rank = view.axes.length
  const axis = (intAttribute(node.attributes, 'axis', 0) + rank) % rank
  let at = 0
  for (const output of node.outputs) {
    const size = output.shape[axis]
    if (isBatch(size)) throw uncovered(node.name, 'Split of an axis that depends on the batch')
    lowering.define(output, cut(lowering, view, axis, at, size, 1, node.name))
    at += size
  }
}

const concat: Handler = (lowering, node) => {
  const [out] = node.outputs
  const rank = out.shape.length
  const axis = (intAttribute(node.attributes, 'axis', 0) + rank) % rank
  const parts = (node.inputs as Value[]).map((value) => lowering.view(value))
  const together = joined(parts, axis)
  if (together !== undefined) {
    lowering.define(out, together)
    return
  }
  const to = lowering.fresh(out.shape)
  let at = 0
  for (const [i, part] of parts.entries()) {
    const size = (node.inputs[i] as Value).shape[axis]
    const place = isBatch(size) ? undefined : sliced(to, axis, at, size)
    if (isBatch(size) || place === undefined)
      throw uncovered(node.name, 'Concat along an axis that depends on the batch')
    lowering.move(part, place, node.name)
    at += size
  }
  lowering.define(out, to)
}

const pad: Handler = (lowering, node) => {
  const view = input(lowering, node)
  const [out] = node.outputs
  const shape = shapeOf(view)
  const mode = String(node.attributes.mode ?? 'constant')
  const pads = integers(node.inputs[1])
  const axes = integers(node.inputs[3]) ?? shape.map((_, i) => i)
  if (mode !== 'constant') throw uncovered(node.name, `Pad in mode ${mode}`)
  if (pads === undefined || pads.some((amount) => amount < 0))
    throw uncovered(node.name, 'Pad by amounts that are negative or not known')
  const value = node.inputs[2]?.constant
  const to = lowering.fresh(out.shape)
  lowering.step('fill', node.name, [to.buffer], [to.buffer.elements], [value === undefined ? 0 : numbersOf(value)[0]])
  let place: View = to
  for (const [i, given] of axes.entries()) {
    const axis = (given + shape.length) % shape.length
    if (pads[i] === 0 && pads[i + axes.length] === 0) continue
    const size = shape[axis]
    const inner = isBatch(size) ? undefined : sliced(place, axis, pads[i], size)
    if (inner === undefined) throw uncovered(node.name, 'Pad along an axis that depends on the batch')
    place = inner
  }
  lowering.move(view, place, node.name)
  lowering.define(out, to)
}

const gather: Handler = (lowering, node) => {
  const view = input(lowering, node)
  const [out] = node.outputs
  const shape = shapeOf(view)
  const axis = (intAttribute(node.attributes, 'axis', 0) + shape.length) % shape.length
  const size = shape[axis]
  const indices = integers(node.inputs[1])
  if (indices === undefined || isBatch(size)) throw uncovered(node.name, 'Gather at places that are not known')
  const list = indices.map((at) => (at < 0 ? at + size : at))
  const run = list.every((at, i) => at === list[0] + i)
  if (run) {
    const part = cut(lowering, view, axis, list[0], list.length, 1, node.name)
    lowering.define(out, lowering.reshape(part, out.shape, node.name))
    return
  }
  const whole = lowering.whole(view, node.name)
  const to = viewOf(new PlanBuffer('value', elementsOf(out.shape)), out.shape)
  lowering.step(
    'gather',
    node.name,
    [to.buffer, whole.buffer, lowering.constants.of(int64Tensor(list), 'int32')],
    [elementsOf(shape.slice(0, axis)), size, elementsOf(shape.slice(axis + 1)), list.length],
  )
  lowering.define(out, to)
}

/** out[index[i]] += updates[i] into zeros, along one axis with the same places for every row: the backward of a gather. */
const scatterElements: Handler = (lowering, node) => {
  const [data, indices, updates] = node.inputs as Value[]
  const [out] = node.outputs
  const rank = out.shape.length
  const axis = (intAttribute(node.attributes, 'axis', 0) + rank) % rank
  const zeros = data.producer?.op === 'ConstantOfShape' || data.constant?.data.every((x) => Number(x) === 0)
  const places = alongAxis(indices, axis)
  const size = out.shape[axis]
  if (!zeros || places === undefined || isBatch(size) || node.attributes.reduction !== 'add')
    throw uncovered(node.name, 'ScatterElements at places that differ from row to row')
  const whole = lowering.whole(lowering.view(updates), node.name)
  const to = lowering.fresh(out.shape)
  const list = places.map((at) => (at < 0 ? at + size : at))
  lowering.step(
    'scatter_add',
    node.name,
    [to.buffer, whole.buffer, lowering.constants.of(int64Tensor(list), 'int32')],
    [elementsOf(out.shape.slice(0, axis)), size, elementsOf(out.shape.slice(axis + 1)), list.length],
  )
  lowering.define(out, to)
}

/** The places along an axis, where an index tensor is one vector repeated over all other axes. */
function alongAxis(indices: Value, axis: number): number[] | undefined {
  let value = indices
  while (value.constant === undefined) {
    const node = value.producer
    const [source] = node?.inputs ?? []
    if (node === undefined || source === undefined || (node.op !== 'Expand' && node.op !== 'Reshape')) return undefined
    value = source
  }
  const numbers = Array.from(numbersOf(value.constant))
  const count = indices.shape[axis]
  return numbers.length === count ? numbers : undefined
}

const constantOfShape: Handler = (lowering, node) => {
  const [out] = node.outputs
  const fill = node.attributes.value
  const number = typeof fill === 'object' && 'data' in fill ? numbersOf(fill as Tensor)[0] : 0
  const single = viewOf(lowering.constants.of(float32Tensor([1], [number]), 'float32'), [1])
  lowering.define(out, broadcast({ ...single, axes: out.shape.map(() => []) }, out.shape))
}

export const layoutHandlers: Readonly<Record<string, Handler>> = {
  Reshape: reshape,
  Squeeze: reshape,
  Unsqueeze: reshape,
  Flatten: reshape,
  Identity: same,
  Cast: same,
  Transpose: transpose,
  Expand: expand,
  Slice: slice,
  Split: split,
  Concat: concat,
  Pad: pad,
  Gather: gather,
  ScatterElements: scatterElements,
  ConstantOfShape: constantOfShape,
  // The engine keeps images and their gradient in the layout of patches.
  'signstep.Patches': (lowering, node) =>
    lowering.define(node.outputs[0], viewOf(input(lowering, node).buffer, node.outputs[0].shape)),
  'signstep.Unpatch': (lowering, node) =>
    lowering.define(node.outputs[0], viewOf(input(lowering, node).buffer, node.outputs[0].shape)),
}
