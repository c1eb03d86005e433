import { type Call, input, int, ints, make, type Operator } from './array.js'
import type { NdArray } from './nd-array.js'
import { reduceOver } from './reduce.js'
import { sizeOf, stridesOf } from './strides.js'
import { slide, windowOf } from './window.js'

const maxPool: Operator = (call) => {
  const x = input(call, 0)
  const spatial = x.shape.slice(2)
  const window = windowOf(call, spatial, ints(call, 'kernel_shape') ?? [])
  const [planes, plane, area] = [x.shape[0] * x.shape[1], sizeOf(spatial), sizeOf(window.output)]
  const shape = [x.shape[0], x.shape[1], ...window.output]
  const out = make(x.dtype, shape, new Float64Array(planes * area).fill(Number.NEGATIVE_INFINITY))
  const indices = make('int64', shape)
  slide(window, spatial, (position, _tap, source) => {
    for (let c = 0; c < planes; c++)
      if (x.data[c * plane + source] > out.data[c * area + position] || Number.isNaN(x.data[c * plane + source])) {
        out.data[c * area + position] = x.data[c * plane + source]
        indices.data[c * area + position] = c * plane + source
      }
  })
  if (int(call, 'storage_order', 0) === 1) columnMajor(indices, spatial, plane)
  return [out, indices].slice(0, call.outputs)
}

/** storage_order 1 counts the positions of a plane column by column. */
function columnMajor(indices: NdArray, spatial: readonly number[], plane: number): void {
  const strides = stridesOf(spatial)
  for (const [i, flat] of indices.data.entries()) {
    const base = Math.floor(flat / plane) * plane
    let [offset, step] = [0, 1]
    for (const [axis, size] of spatial.entries()) {
      offset += (Math.floor((flat - base) / strides[axis]) % size) * step
      step *= size
    }
    indices.data[i] = base + offset
  }
}

/** Sums `f` of the taps of each window, then finishes each sum. */
function pooled(
  call: Call,
  f: (x: number) => number,
  finish: (sum: number, counted: number, inside: number) => number,
): NdArray {
  const x = input(call, 0)
  const spatial = x.shape.slice(2)
  const window = windowOf(call, spatial, ints(call, 'kernel_shape') ?? [])
  const [planes, plane, area] = [x.shape[0] * x.shape[1], sizeOf(spatial), sizeOf(window.output)]
  const out = make(x.dtype, [x.shape[0], x.shape[1], ...window.output])
  const inside = new Float64Array(area)
  slide(window, spatial, (position, _tap, source) => {
    inside[position]++
    for (let c = 0; c < planes; c++) out.data[c * area + position] += f(x.data[c * plane + source])
  })
  // Taps that count under count_include_pad: those in the padding, but not those beyond it that only ceil_mode reaches.
  const counted = new Float64Array(area)
  const padded = spatial.map((size, i) => size + window.begin[i] + window.end[i])
  slide(
    { ...window, begin: window.begin.map(() => 0), end: window.end.map(() => 0) },
    padded,
    (position) => counted[position]++,
  )
  for (let i = 0; i < out.data.length; i++) out.data[i] = finish(out.data[i], counted[i % area], inside[i % area])
  return out
}

const averagePool: Operator = (call) => {
  const all = int(call, 'count_include_pad', 0) === 1
  return pooled(
    call,
    (x) => x,
    (sum, counted, inside) => sum / (all ? counted : inside),
  )
}

const lpPool: Operator = (call) => {
  const p = int(call, 'p', 2)
  return pooled(
    call,
    (x) => Math.abs(x) ** p,
    (sum) => sum ** (1 / p),
  )
}

const global =
  (f: (values: Float64Array, call: Call) => number): Operator =>
  (call) => {
    const x = input(call, 0)
    return reduceOver(x, x.shape.map((_, axis) => axis).slice(2), true, (values) => f(values, call))
  }

export const pool: Record<string, Operator> = {
  MaxPool: maxPool,
  AveragePool: averagePool,
  LpPool: lpPool,
  GlobalAveragePool: global((v) => v.reduce((a, b) => a + b, 0) / v.length),
  GlobalMaxPool: global((v) => v.reduce((a, b) => Math.max(a, b))),
  GlobalLpPool: global(
    (v, call) => v.reduce((a, b) => a + Math.abs(b) ** int(call, 'p', 2), 0) ** (1 / int(call, 'p', 2)),
  ),
}
