import { input, int, make, type Operator, vector, walk } from './array.js'
import type { NdArray } from './nd-array.js'
import { normalAxis, stridesOf } from './strides.js'

/** Applies `f` to the elements along `axes`, which it gets in row-major order. */
export function reduceOver(
  x: NdArray,
  axes: readonly number[],
  keepdims: boolean,
  f: (values: Float64Array) => number,
): NdArray {
  const rank = x.shape.length
  const inner = [...new Set(axes.map((axis) => normalAxis(axis, rank)))].sort((a, b) => a - b)
  const outer = x.shape.map((_, axis) => axis).filter((axis) => !inner.includes(axis))
  const strides = stridesOf(x.shape)
  const pick = (list: readonly number[], from: readonly number[]): number[] => list.map((axis) => from[axis])
  const starts = walk(pick(outer, x.shape), pick(outer, strides))
  const steps = walk(pick(inner, x.shape), pick(inner, strides))
  const values = new Float64Array(steps.length)
  const data = Float64Array.from(starts, (start) => {
    for (let i = 0; i < steps.length; i++) values[i] = x.data[start + steps[i]]
    return f(values)
  })
  const shape = keepdims ? x.shape.map((size, axis) => (inner.includes(axis) ? 1 : size)) : pick(outer, x.shape)
  return make(x.dtype, shape, data)
}

const sum = (values: Float64Array): number => values.reduce((a, b) => a + b, 0)

const reduction =
  (f: (values: Float64Array) => number): Operator =>
  (call) => {
    const x = input(call, 0)
    const given = vector(call.inputs[1])
    if ((given === undefined || given.length === 0) && int(call, 'noop_with_empty_axes', 0) === 1)
      return make(
        x.dtype,
        x.shape,
        x.data.map((v) => f(Float64Array.of(v))),
      )
    const axes = given === undefined || given.length === 0 ? x.shape.map((_, axis) => axis) : given
    return reduceOver(x, axes, int(call, 'keepdims', 1) === 1, f)
  }

export function logSumExp(values: Float64Array): number {
  const highest = values.reduce((a, b) => Math.max(a, b), Number.NEGATIVE_INFINITY)
  if (!Number.isFinite(highest)) return highest
  return highest + Math.log(values.reduce((total, v) => total + Math.exp(v - highest), 0))
}

const argReduction =
  (better: (a: number, b: number) => boolean): Operator =>
  (call) => {
    const x = input(call, 0)
    const last = int(call, 'select_last_index', 0) === 1
    const found = reduceOver(x, [int(call, 'axis', 0)], int(call, 'keepdims', 1) === 1, (values) => {
      let best = 0
      for (let i = 1; i < values.length; i++)
        if (better(values[i], values[best]) || (last && values[i] === values[best])) best = i
      return best
    })
    return { ...found, dtype: 'int64' }
  }

export const reduce: Record<string, Operator> = {
  ReduceSum: reduction(sum),
  ReduceMean: reduction((v) => sum(v) / v.length),
  ReduceMax: reduction((v) => v.reduce((a, b) => Math.max(a, b), Number.NEGATIVE_INFINITY)),
  ReduceMin: reduction((v) => v.reduce((a, b) => Math.min(a, b), Number.POSITIVE_INFINITY)),
  ReduceProd: reduction((v) => v.reduce((a, b) => a * b, 1)),
  ReduceL1: reduction((v) => v.reduce((a, b) => a + Math.abs(b), 0)),
  ReduceL2: reduction((v) => Math.sqrt(v.reduce((a, b) => a + b * b, 0))),
  ReduceSumSquare: reduction((v) => v.reduce((a, b) => a + b * b, 0)),
  ReduceLogSum: reduction((v) => Math.log(sum(v))),
  ReduceLogSumExp: reduction(logSumExp),
  ArgMax: argReduction((a, b) => a > b),
  ArgMin: argReduction((a, b) => a < b),
}
