import { ModelError } from '../errors/index.js'

export const sizeOf = (shape: readonly number[]): number => shape.reduce((a, b) => a * b, 1)

export function stridesOf(shape: readonly number[]): number[] {
  const strides = new Array<number>(shape.length)
  for (let i = shape.length - 1, step = 1; i >= 0; i--) {
    strides[i] = step
    step *= shape[i]
  }
  return strides
}

/** Counts a negative axis from the end. Throws ModelError SHAPE_MISMATCH for one that does not exist. */
export function normalAxis(axis: number, rank: number): number {
  if (axis < -rank || axis >= rank)
    throw new ModelError('SHAPE_MISMATCH', 'no such axis', {
      expected: `one of ${rank} axes`,
      found: String(axis),
    })
  return axis < 0 ? axis + rank : axis
}

/** Counts a negative index from the end. Throws ModelError MODEL_INVALID for one outside the axis. */
export function normalIndex(index: number, size: number): number {
  if (!(index >= -size && index < size))
    throw new ModelError('MODEL_INVALID', 'index out of range', {
      expected: `one of ${size} positions`,
      found: String(index),
    })
  return index < 0 ? index + size : index
}
