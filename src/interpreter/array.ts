import { ModelError } from '../errors/index.js'
import type { DType } from '../tensor/index.js'
import type { NdArray } from './nd-array.js'
import { sizeOf, stridesOf } from './strides.js'

/** What an operator is given: its inputs (undefined = left out), attributes and how many outputs are wanted. */
export interface Call {
  readonly op: string
  readonly inputs: readonly (NdArray | undefined)[]
  readonly attributes: Readonly<Record<string, unknown>>
  readonly outputs: number
}

export type Operator = (call: Call) => NdArray | NdArray[]

export const make = (dtype: DType, shape: readonly number[], data?: Float64Array): NdArray => ({
  dtype,
  shape: [...shape],
  data: data ?? new Float64Array(sizeOf(shape)),
})

export function input(call: Call, index: number): NdArray {
  const found = call.inputs[index]
  if (found === undefined)
    throw new ModelError('MODEL_INVALID', `input ${index} is missing`, {
      subject: call.op,
      expected: `at least ${index + 1} inputs`,
    })
  return found
}

/** An optional integer vector input, as plain numbers. */
export const vector = (array: NdArray | undefined): number[] | undefined => array && Array.from(array.data)

export const int = (call: Call, name: string, fallback: number): number => {
  const value = call.attributes[name]
  return typeof value === 'number' ? value : fallback
}
export const text = (call: Call, name: string, fallback: string): string => {
  const value = call.attributes[name]
  return typeof value === 'string' ? value : fallback
}
export const ints = (call: Call, name: string): number[] | undefined => {
  const value = call.attributes[name]
  return Array.isArray(value) ? (value as number[]) : undefined
}

export function broadcastShape(shapes: readonly (readonly number[])[]): number[] {
  const rank = Math.max(0, ...shapes.map((shape) => shape.length))
  return Array.from({ length: rank }, (_, axis) => {
    let size = 1
    for (const shape of shapes) {
      const own = shape[axis - rank + shape.length] ?? 1
      if (own === 1 || own === size) continue
      if (size !== 1)
        throw new ModelError('SHAPE_MISMATCH', 'shapes cannot be broadcast together', {
          found: shapes.map((s) => `[${s}]`).join(' '),
        })
      size = own
    }
    return size
  })
}

/** For every element of `shape` in row-major order, its offset in an array of `own` shape that is broadcast to it. */
export function broadcastOffsets(shape: readonly number[], own: readonly number[]): Int32Array {
  const strides = stridesOf(own)
  const lead = shape.length - own.length
  const steps = shape.map((_, axis) => (axis < lead || own[axis - lead] === 1 ? 0 : strides[axis - lead]))
  return walk(shape, steps)
}

/** Offsets visited by walking `shape` in row-major order with the given step per axis. */
export function walk(shape: readonly number[], steps: readonly number[], start = 0): Int32Array {
  const offsets = new Int32Array(sizeOf(shape))
  const index = new Array<number>(shape.length).fill(0)
  let offset = start
  for (let i = 0; i < offsets.length; i++) {
    offsets[i] = offset
    for (let axis = shape.length - 1; axis >= 0; axis--) {
      offset += steps[axis]
      if (++index[axis] < shape[axis]) break
      offset -= steps[axis] * shape[axis]
      index[axis] = 0
    }
  }
  return offsets
}

/** The elements at `offsets`. (A plain loop: Float64Array.from with a callback is ten times as slow.) */
export function pick(data: Float64Array, offsets: ArrayLike<number>): Float64Array {
  const out = new Float64Array(offsets.length)
  for (let i = 0; i < out.length; i++) out[i] = data[offsets[i]]
  return out
}

/** The elements of `array` repeated to `shape`; its own data, not to be written to, where it has that shape already. */
export function broadcastTo(array: NdArray, shape: readonly number[]): Float64Array {
  if (array.data.length === 1) return new Float64Array(sizeOf(shape)).fill(array.data[0])
  if (array.shape.length === shape.length && shape.every((size, axis) => size === array.shape[axis])) return array.data
  const offsets = broadcastOffsets(shape, array.shape)
  return pick(array.data, offsets)
}

/** Brings numbers into the range and precision class of an integer or bool type; floats stay as they are. */
export function wrap(dtype: DType, data: Float64Array): Float64Array {
  if (dtype === 'bool') return data.map((v) => (v !== 0 ? 1 : 0))
  const bits = /^(u?)int(8|16|32)$/.exec(dtype)
  if (bits === null) return data
  const span = 2 ** Number(bits[2])
  return data.map((v) => {
    const low = ((v % span) + span) % span
    return bits[1] === '' && low >= span / 2 ? low - span : low
  })
}

/** The nearest number of an integer type: truncated, cut off at the ends of its range; NaN becomes 0. */
export function saturate(dtype: DType, data: Float64Array): Float64Array {
  const bits = Number(/\d+$/.exec(dtype)?.[0])
  const [low, high] = dtype.startsWith('u') ? [0, 2 ** bits - 1] : [-(2 ** (bits - 1)), 2 ** (bits - 1) - 1]
  return data.map((v) => (Number.isNaN(v) ? 0 : Math.min(Math.max(Math.trunc(v), low), high)))
}

/** Splits a shape around one axis: [before, size, after]. */
export function around(shape: readonly number[], axis: number): [number, number, number] {
  return [sizeOf(shape.slice(0, axis)), shape[axis], sizeOf(shape.slice(axis + 1))]
}

export function transpose(array: NdArray, perm: readonly number[]): NdArray {
  const strides = stridesOf(array.shape)
  const shape = perm.map((axis) => array.shape[axis])
  const offsets = walk(
    shape,
    perm.map((axis) => strides[axis]),
  )
  return make(array.dtype, shape, pick(array.data, offsets))
}
