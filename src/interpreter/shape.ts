import { ModelError } from '../errors/index.js'
import {
  around,
  broadcastShape,
  broadcastTo,
  type Call,
  input,
  int,
  ints,
  make,
  type Operator,
  pick,
  transpose,
  vector,
  walk,
} from './array.js'
import type { NdArray } from './nd-array.js'
import { normalAxis, sizeOf, stridesOf } from './strides.js'

/** The same elements in another shape, as a copy. */
export const reshaped = (x: NdArray, shape: readonly number[]): NdArray => make(x.dtype, shape, x.data.slice())

const reshape: Operator = (call) => {
  const x = input(call, 0)
  const keepZero = int(call, 'allowzero', 0) === 1
  const shape = Array.from(input(call, 1).data, (d, i) => (d === 0 && !keepZero ? x.shape[i] : d))
  const open = shape.indexOf(-1)
  if (open >= 0) shape[open] = x.data.length / -shape.reduce((a, b) => a * b, 1)
  if (sizeOf(shape) !== x.data.length || !shape.every(Number.isInteger))
    throw new ModelError('SHAPE_MISMATCH', 'element counts differ', {
      subject: 'Reshape',
      expected: `${x.data.length} elements`,
      found: `[${shape}]`,
    })
  return reshaped(x, shape)
}

const flatten: Operator = (call) => {
  const x = input(call, 0)
  const given = int(call, 'axis', 1)
  // The axis may also be the rank: everything comes before it.
  const axis = given === x.shape.length ? given : normalAxis(given, x.shape.length)
  return reshaped(x, [sizeOf(x.shape.slice(0, axis)), sizeOf(x.shape.slice(axis))])
}

const squeeze: Operator = (call) => {
  const x = input(call, 0)
  const axes = vector(call.inputs[1])?.map((axis) => normalAxis(axis, x.shape.length))
  return reshaped(
    x,
    x.shape.filter((size, axis) => (axes === undefined ? size !== 1 : !axes.includes(axis))),
  )
}

const unsqueeze: Operator = (call) => {
  const x = input(call, 0)
  const given = Array.from(input(call, 1).data)
  const axes = new Set(given.map((axis) => normalAxis(axis, x.shape.length + given.length)))
  const rest = [...x.shape]
  return reshaped(
    x,
    Array.from({ length: x.shape.length + given.length }, (_, axis) => (axes.has(axis) ? 1 : (rest.shift() ?? 1))),
  )
}

const expand: Operator = (call) => {
  const x = input(call, 0)
  const shape = broadcastShape([x.shape, Array.from(input(call, 1).data)])
  return make(x.dtype, shape, broadcastTo(x, shape).slice())
}

const tile: Operator = (call) => {
  const x = input(call, 0)
  const times = Array.from(input(call, 1).data)
  const strides = stridesOf(x.shape)
  // Each axis becomes two, [times, size], of which the first does not move.
  const offsets = walk(
    x.shape.flatMap((size, axis) => [times[axis], size]),
    strides.flatMap((stride) => [0, stride]),
  )
  return make(
    x.dtype,
    x.shape.map((size, axis) => size * times[axis]),
    pick(x.data, offsets),
  )
}

export function concatenate(arrays: readonly NdArray[], axis: number): NdArray {
  const [first] = arrays
  const total = arrays.reduce((sum, array) => sum + array.shape[axis], 0)
  const out = make(
    first.dtype,
    first.shape.map((size, i) => (i === axis ? total : size)),
  )
  let offset = 0
  for (const array of arrays) {
    const [before, size, after] = around(array.shape, axis)
    for (let i = 0; i < before; i++)
      out.data.set(array.data.subarray(i * size * after, (i + 1) * size * after), i * total * after + offset)
    offset += size * after
  }
  return out
}

const concat: Operator = (call) => {
  const arrays = call.inputs.filter((array) => array !== undefined)
  return concatenate(arrays, normalAxis(int(call, 'axis', 0), arrays[0].shape.length))
}

const split: Operator = (call) => {
  const x = input(call, 0)
  const axis = normalAxis(int(call, 'axis', 0), x.shape.length)
  const size = x.shape[axis]
  const parts = int(call, 'num_outputs', call.outputs)
  const chunk = Math.ceil(size / parts)
  const sizes = vector(call.inputs[1]) ?? Array.from({ length: parts }, (_, i) => Math.min(chunk, size - i * chunk))
  let start = 0
  return sizes.map((length) => {
    const part = strided(
      x,
      x.shape.map((_, i) => (i === axis ? start : 0)),
      x.shape.map(() => 1),
      x.shape.map((d, i) => (i === axis ? length : d)),
    )
    start += length
    return part
  })
}

/** The sub-array of the given shape that starts at `starts` and moves by `steps`. */
function strided(x: NdArray, starts: readonly number[], steps: readonly number[], shape: readonly number[]): NdArray {
  const strides = stridesOf(x.shape)
  const start = starts.reduce((sum, s, axis) => sum + s * strides[axis], 0)
  const offsets = walk(
    shape,
    steps.map((step, axis) => step * strides[axis]),
    start,
  )
  return make(x.dtype, shape, pick(x.data, offsets))
}

const slice: Operator = (call) => {
  const x = input(call, 0)
  const [from, to] = [Array.from(input(call, 1).data), Array.from(input(call, 2).data)]
  const axes = vector(call.inputs[3]) ?? from.map((_, i) => i)
  const jumps = vector(call.inputs[4]) ?? from.map(() => 1)
  const [starts, steps, shape] = [x.shape.map(() => 0), x.shape.map(() => 1), [...x.shape]]
  for (const [i, given] of axes.entries()) {
    const axis = normalAxis(given, x.shape.length)
    const size = x.shape[axis]
    const step = jumps[i]
    const [low, high] = step > 0 ? [0, size] : [-1, size - 1]
    const bound = (v: number, floor: number): number => Math.min(Math.max(v < 0 ? v + size : v, floor), high)
    starts[axis] = bound(from[i], step > 0 ? low : 0)
    steps[axis] = step
    shape[axis] = Math.max(0, Math.ceil((bound(to[i], low) - starts[axis]) / step))
  }
  return strided(x, starts, steps, shape)
}

const shapeOf: Operator = (call) => {
  const { shape } = input(call, 0)
  const bound = (v: number): number => Math.min(Math.max(v < 0 ? v + shape.length : v, 0), shape.length)
  const dims = shape.slice(bound(int(call, 'start', 0)), bound(int(call, 'end', shape.length)))
  return make('int64', [dims.length], Float64Array.from(dims))
}

export const shape: Record<string, Operator> = {
  Reshape: reshape,
  Flatten: flatten,
  Squeeze: squeeze,
  Unsqueeze: unsqueeze,
  Transpose: (call: Call) =>
    transpose(
      input(call, 0),
      ints(call, 'perm') ??
        input(call, 0)
          .shape.map((_, i) => i)
          .reverse(),
    ),
  Expand: expand,
  Tile: tile,
  Concat: concat,
  Split: split,
  Slice: slice,
  Shape: shapeOf,
  Size: (call) => make('int64', [], Float64Array.of(input(call, 0).data.length)),
}
