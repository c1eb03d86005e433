import { type Dim, intAttribute, isBatch, multiplyDims, type Value } from '../../graph/index.js'
import { numbersOf } from '../../tensor/index.js'
import type { VjpContext, VjpRule } from '../rule.js'
import { scatterAlong } from './scatter-along.js'
import { padAxis } from './shape.js'
import {
  constantInput,
  normalAxis,
  numberDim,
  outputGradient,
  range,
  required,
  unsupported,
  type VjpRules,
} from './shared.js'

const gather: VjpRule = (c) => {
  const { b, node } = c
  const [x, indices, g] = [required(c, 0), required(c, 1), outputGradient(c)]
  const axis = normalAxis(intAttribute(node.attributes, 'axis', 0), x.shape.length)
  const count = indices.shape.reduce<Dim>((n, dim) => multiplyDims(n, dim) ?? Number.NaN, 1)
  const flat = b.reshape(g, [...x.shape.slice(0, axis), count, ...x.shape.slice(axis + 1)])
  const run = consecutive(indices, x.shape[axis])
  // A run of neighbours (one token, one of q, k and v) goes back by padding with zeros.
  if (run !== undefined) return [padAxis(b, flat, axis, run.start, run.size - run.start - run.count), undefined]
  const back = inversePermutation(indices, x.shape[axis])
  if (back !== undefined) return [b.emit('Gather', [flat, b.ints(back)], { axis }), undefined]
  return [scatterAlong(b, flat, axis, b.reshape(indices, [count]), x.shape), undefined]
}

/** Constant indices i, i+1, …, i+count−1 of an axis of known size. */
function consecutive(indices: Value, size: Dim): { start: number; count: number; size: number } | undefined {
  if (indices.constant === undefined || isBatch(size)) return undefined
  const list = Array.from(numbersOf(indices.constant), (i) => normalAxis(i, size))
  return list.every((at, i) => at === list[0] + i) ? { start: list[0], count: list.length, size } : undefined
}

/** Where constant indices take each place of the axis once (channels reversed, tokens reordered): the places to take back from. */
function inversePermutation(indices: Value, size: Dim): number[] | undefined {
  if (indices.constant === undefined || isBatch(size) || indices.constant.data.length !== size) return undefined
  const list = Array.from(numbersOf(indices.constant), (i) => normalAxis(i, size))
  return new Set(list).size === size ? range(0, size).map((at) => list.indexOf(at)) : undefined
}

const gatherElements: VjpRule = (c) => {
  const { b, node } = c
  const [x, indices] = [required(c, 0), required(c, 1)]
  const axis = normalAxis(intAttribute(node.attributes, 'axis', 0), x.shape.length)
  return [
    b.emit('ScatterElements', [b.full(x.shape, 0), indices, outputGradient(c)], { axis, reduction: 'add' }),
    undefined,
  ]
}

/**
 * The indexed axes are joined to one and the index vectors to positions on it. (ScatterND would take them as they are, but ONNX Runtime
 * 1.32 runs its additions in parallel without a lock and loses some where indices repeat; ScatterElements adds in order.)
 */
const gatherNd: VjpRule = (c) => {
  const { b } = c
  const [x, indices, g] = [required(c, 0), required(c, 1), outputGradient(c)]
  const batches = intAttribute(c.node.attributes, 'batch_dims', 0)
  const depth = indices.shape[indices.shape.length - 1] as number
  const sizes = x.shape.slice(batches, batches + depth).map((dim) => numberDim(c, dim, 'an indexed axis'))
  const strides = sizes.map((_, k) => sizes.slice(k + 1).reduce((n, size) => n * size, 1))
  const joined = (dims: readonly Dim[]): Dim => dims.reduce((n, dim) => multiplyDims(n, dim) ?? Number.NaN, 1)
  const [lead, each] = [joined(x.shape.slice(0, batches)), joined(x.shape.slice(batches + depth))]
  const taken = joined(indices.shape.slice(batches, -1))
  // Mod makes negative indices count from the end.
  const inside = b.emit('Mod', [indices, b.ints(sizes)])
  const positions = b.reduceSum(b.mul(inside, b.ints(strides)), [indices.shape.length - 1], false)
  const sums = b.emit(
    'ScatterElements',
    [
      b.full([lead, joined(sizes), each], 0),
      b.expand(b.reshape(positions, [lead, taken, 1]), [lead, taken, each]),
      b.reshape(g, [lead, taken, each]),
    ],
    { axis: 1, reduction: 'add' },
  )
  return [b.reshape(sums, x.shape), undefined]
}

/** ScatterElements and ScatterND: what is overwritten gets no gradient, what is written takes it from its place. */
const scatter =
  (take: (c: VjpContext, g: Value, indices: Value) => Value): VjpRule =>
  (c) => {
    const [indices, updates, g] = [required(c, 1), required(c, 2), outputGradient(c)]
    const how = String(c.node.attributes.reduction ?? 'none')
    if (how !== 'none' && how !== 'add') throw unsupported(c, `reduction ${how}`)
    const overwritten = (): Value => c.b.emit(c.node.op, [g, indices, c.b.full(updates.shape, 0)], c.node.attributes)
    return [
      c.needs[0] ? (how === 'add' ? g : overwritten()) : undefined,
      undefined,
      c.needs[2] ? take(c, g, indices) : undefined,
    ]
  }

/** Only the values carry gradient; the indices say where it goes. */
const topK: VjpRule = (c) => {
  const { b, node } = c
  const x = required(c, 0)
  const [g] = c.gradients
  if (g === undefined) return [undefined, undefined]
  const axis = normalAxis(intAttribute(node.attributes, 'axis', -1), x.shape.length)
  return [b.emit('ScatterElements', [b.full(x.shape, 0), c.outputs[1], g], { axis, reduction: 'add' }), undefined]
}

const cumSum: VjpRule = (c) => {
  const reverse = 1 - intAttribute(c.node.attributes, 'reverse', 0)
  constantInput(c, 1)
  return [c.b.emit('CumSum', [outputGradient(c), required(c, 1)], { ...c.node.attributes, reverse }), undefined]
}

export const indexingRules: VjpRules = {
  Gather: gather,
  GatherElements: gatherElements,
  GatherND: gatherNd,
  ScatterElements: scatter((c, g, indices) =>
    c.b.emit('GatherElements', [g, indices], { axis: intAttribute(c.node.attributes, 'axis', 0) }),
  ),
  ScatterND: scatter((c, g, indices) => c.b.emit('GatherND', [g, indices])),
  TopK: topK,
  CumSum: cumSum,
}
