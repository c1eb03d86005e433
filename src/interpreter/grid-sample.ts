import { type Call, input, int, make, type Operator, text } from './array.js'
import { cubicWeight } from './cubic.js'
import { roundHalfEven } from './round.js'
import { sizeOf, stridesOf } from './strides.js'

/** A sample's place along one axis: [index, weight] of the elements it is made of; index −1 is a zero of the padding. */
type Taps = readonly (readonly [number, number])[]

/** Samples x [N,C,…] at the points of a grid [N,…out,rank] of coordinates in [−1,1], the last spatial axis first. */
const gridSample: Operator = (call) => {
  const [x, grid] = [input(call, 0), input(call, 1)]
  const [batch, channels] = x.shape
  const spatial = x.shape.slice(2)
  const rank = spatial.length
  const strides = stridesOf(spatial)
  const [plane, points] = [sizeOf(spatial), sizeOf(grid.shape.slice(1, -1))]
  const out = make(x.dtype, [batch, channels, ...grid.shape.slice(1, -1)])
  for (let n = 0; n < batch; n++)
    for (let p = 0; p < points; p++) {
      let taps: Taps = [[0, 1]]
      for (const [axis, size] of spatial.entries()) {
        const along = tapsOf(call, grid.data[(n * points + p) * rank + rank - 1 - axis], size)
        taps = taps.flatMap(([offset, weight]) =>
          along.map(([at, w]) => [offset < 0 || at < 0 ? -1 : offset + at * strides[axis], weight * w] as const),
        )
      }
      for (let c = 0; c < channels; c++) {
        const start = (n * channels + c) * plane
        let sum = 0
        for (const [offset, weight] of taps) if (offset >= 0) sum += weight * x.data[start + offset]
        out.data[(n * channels + c) * points + p] = sum
      }
    }
  return out
}

function tapsOf(call: Call, coordinate: number, size: number): Taps {
  const corners = int(call, 'align_corners', 0) === 1
  const padding = text(call, 'padding_mode', 'zeros')
  const mode = text(call, 'mode', 'linear')
  const x = corners ? ((coordinate + 1) / 2) * (size - 1) : ((coordinate + 1) * size - 1) / 2
  const inside = (at: number): number => {
    if (padding === 'border') return Math.min(Math.max(at, 0), size - 1)
    if (padding === 'reflection') return corners ? reflect(at, 0, size - 1) : reflect(at, -0.5, size - 0.5)
    return at
  }
  // The cubic kernel pads its taps, the others the point itself.
  const point = mode === 'cubic' ? x : inside(x)
  const tap = (at: number, weight: number): readonly [number, number] => {
    const index = inside(at)
    return [index >= 0 && index < size ? index : -1, weight]
  }
  if (mode === 'nearest') return [tap(roundHalfEven(point), 1)]
  const floor = Math.floor(point)
  const rest = point - floor
  return mode === 'linear'
    ? [tap(floor, 1 - rest), tap(floor + 1, rest)]
    : [-1, 0, 1, 2].map((k) => tap(floor + k, cubicWeight(k - rest, -0.75)))
}

/** Folds x into [low, high] as between two mirrors. */
function reflect(x: number, low: number, high: number): number {
  const span = high - low
  if (span === 0) return low
  const distance = Math.abs(x - low) % (2 * span)
  return low + (distance <= span ? distance : 2 * span - distance)
}

export const gridSampling: Record<string, Operator> = { GridSample: gridSample }
