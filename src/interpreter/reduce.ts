import { around, type Call, input, int, make, type Operator, vector, walk } from './array.js'
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

function logSumExp(values: Float64Array): number {
  const highest = values.reduce((a, b) => Math.max(a, b), Number.NEGATIVE_INFINITY)
  if (!Number.isFinite(highest)) return highest
  return highest + Math.log(values.reduce((total, v) => total + Math.exp(v - highest), 0))
}

const softmaxOf = (line: Float64Array, total: number): Float64Array => line.map((v) => Math.exp(v - total))
const shifted = (line: Float64Array, by: number): Float64Array => line.map((v) => v - by)

function oneHot(line: Float64Array): Float64Array {
  const first = line.indexOf(line.reduce((a, b) => Math.max(a, b)))
  return line.map((_, i) => Number(i === first))
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

/** Applies `f` to every line along the axis and writes the result back in place of it. */
function alongAxis(call: Call, f: (line: Float64Array) => Float64Array): NdArray {
  const x = input(call, 0)
  const [before, size, after] = around(x.shape, normalAxis(int(call, 'axis', -1), x.shape.length))
  const out = make(x.dtype, x.shape)
  const line = new Float64Array(size)
  for (let i = 0; i < before; i++)
    for (let j = 0; j < after; j++) {
      const start = i * size * after + j
      for (let k = 0; k < size; k++) line[k] = x.data[start + k * after]
      const result = f(line)
      for (let k = 0; k < size; k++) out.data[start + k * after] = result[k]
    }
  return out
}

const cumSum: Operator = (call) => {
  const axis = input(call, 1).data[0]
  const [exclusive, reverse] = [int(call, 'exclusive', 0) === 1, int(call, 'reverse', 0) === 1]
  return alongAxis({ ...call, attributes: { axis } }, (line) => {
    const out = new Float64Array(line.length)
    let total = 0
    for (let n = 0; n < line.length; n++) {
      const k = reverse ? line.length - 1 - n : n
      out[k] = exclusive ? total : total + line[k]
      total += line[k]
    }
    return out
  })
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
  Softmax: (call) => alongAxis(call, (line) => softmaxOf(line, logSumExp(line))),
  LogSoftmax: (call) => alongAxis(call, (line) => shifted(line, logSumExp(line))),
  Hardmax: (call) => alongAxis(call, (line) => oneHot(line)),
  CumSum: cumSum,
  LpNormalization: (call) =>
    alongAxis(call, (line) => {
      const p = int(call, 'p', 2)
      const norm = p === 1 ? line.reduce((a, b) => a + Math.abs(b), 0) : Math.sqrt(line.reduce((a, b) => a + b * b, 0))
      return line.map((v) => (norm === 0 ? 0 : v / norm))
    }),
}
