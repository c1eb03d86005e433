import { around, type Call, input, int, ints, make, type Operator, text, vector } from './array.js'
import { cubicWeight } from './cubic.js'
import type { NdArray } from './nd-array.js'
import { normalAxis } from './strides.js'

/** One axis of Resize as the weights of each output position: [output][source, weight]. Resize is separable and linear in its input. */
export function resizeWeights(
  call: Call,
  size: number,
  output: number,
  scale: number,
  roi: readonly [number, number],
): [number, number][][] {
  const mode = text(call, 'mode', 'nearest')
  const outside = text(call, 'coordinate_transformation_mode', 'half_pixel') === 'tf_crop_and_resize'
  return Array.from({ length: output }, (_, i) => {
    const x = sourceOf(call, i, size, output, scale, roi)
    if (outside && (x < 0 || x > size - 1)) return []
    if (mode === 'nearest') return [[Math.min(Math.max(nearest(call, x), 0), size - 1), 1]]
    const antialias = int(call, 'antialias', 0) === 1 ? Math.min(1, scale) : 1
    return mode === 'linear'
      ? taps(x, size, 1 / antialias, (d) => Math.max(0, 1 - Math.abs(d * antialias)), false)
      : cubic(call, x, size, antialias)
  })
}

function sourceOf(
  call: Call,
  i: number,
  size: number,
  output: number,
  scale: number,
  roi: readonly [number, number],
): number {
  switch (text(call, 'coordinate_transformation_mode', 'half_pixel')) {
    case 'asymmetric':
      return i / scale
    case 'align_corners':
      // The standard divides by the length before it is rounded down.
      return output === 1 ? 0 : (i * (size - 1)) / (scale * size - 1)
    case 'pytorch_half_pixel':
      return output > 1 ? (i + 0.5) / scale - 0.5 : 0
    case 'half_pixel_symmetric': {
      const adjustment = output / (scale * size)
      return (size / 2) * (1 - adjustment) + (i + 0.5) / scale - 0.5
    }
    case 'tf_crop_and_resize':
      return output > 1
        ? roi[0] * (size - 1) + (i * (roi[1] - roi[0]) * (size - 1)) / (output - 1)
        : 0.5 * (roi[0] + roi[1]) * (size - 1)
    default:
      return (i + 0.5) / scale - 0.5
  }
}

function nearest(call: Call, x: number): number {
  switch (text(call, 'nearest_mode', 'round_prefer_floor')) {
    case 'floor':
      return Math.floor(x)
    case 'ceil':
      return Math.ceil(x)
    case 'round_prefer_ceil':
      return Math.floor(x + 0.5)
    default:
      return Math.ceil(x - 0.5)
  }
}

/** Taps within `reach` of x; beyond the border they fall on the border's pixel, or are left out and the rest rescaled. */
function taps(
  x: number,
  size: number,
  reach: number,
  weight: (distance: number) => number,
  exclude: boolean,
): [number, number][] {
  const found = new Map<number, number>()
  let total = 0
  for (let k = Math.ceil(x - reach); k <= Math.floor(x + reach); k++) {
    const w = weight(k - x)
    if (w === 0 || (exclude && (k < 0 || k >= size))) continue
    const at = Math.min(Math.max(k, 0), size - 1)
    found.set(at, (found.get(at) ?? 0) + w)
    total += w
  }
  return [...found].map(([at, w]) => [at, w / total])
}

function cubic(call: Call, x: number, size: number, antialias: number): [number, number][] {
  const a = int(call, 'cubic_coeff_a', -0.75)
  const kernel = (distance: number): number => cubicWeight(distance * antialias, a)
  return taps(x, size, 2 / antialias, kernel, int(call, 'exclude_outside', 0) === 1)
}

const resize: Operator = (call) => {
  const x = input(call, 0)
  const rank = x.shape.length
  const axes = ints(call, 'axes')?.map((axis) => normalAxis(axis, rank)) ?? x.shape.map((_, axis) => axis)
  const scales = vector(call.inputs[2])
  const sizes = vector(call.inputs[3])
  const roi = vector(call.inputs[1]) ?? []
  const policy = text(call, 'keep_aspect_ratio_policy', 'stretch')
  let factors = axes.map((axis, i) => (sizes?.length ? sizes[i] / x.shape[axis] : (scales?.[i] ?? 1)))
  if (sizes?.length && policy !== 'stretch') {
    const one = policy === 'not_larger' ? Math.min(...factors) : Math.max(...factors)
    factors = factors.map(() => one)
  }
  let out: NdArray = x
  for (const [i, axis] of axes.entries()) {
    const size = x.shape[axis]
    const output = sizes?.length
      ? policy === 'stretch'
        ? sizes[i]
        : Math.round(factors[i] * size)
      : // In float32, as runtimes do: 10 · 0.7 is 7 there, and 6.9999999 in float64.
        Math.floor(Math.fround(size * factors[i]))
    if (output === size && factors[i] === 1 && roi.length === 0) continue
    const weights = resizeWeights(call, size, output, factors[i], [roi[i] ?? 0, roi[i + axes.length] ?? 1])
    out = resizeAxis(out, axis, weights, int(call, 'extrapolation_value', 0))
  }
  return out === x ? make(x.dtype, x.shape, x.data.slice()) : out
}

function resizeAxis(
  x: NdArray,
  axis: number,
  weights: readonly (readonly [number, number])[][],
  outside: number,
): NdArray {
  const [before, size, after] = around(x.shape, axis)
  const out = make(
    x.dtype,
    x.shape.map((d, i) => (i === axis ? weights.length : d)),
  )
  for (let i = 0; i < before; i++)
    for (const [p, list] of weights.entries())
      for (let j = 0; j < after; j++) {
        let sum = list.length === 0 ? outside : 0
        for (const [at, weight] of list) sum += weight * x.data[(i * size + at) * after + j]
        out.data[(i * weights.length + p) * after + j] = sum
      }
  return out
}

export const resizing: Record<string, Operator> = { Resize: resize }
