import { setImmediate } from 'node:timers/promises'
import type { Interpolation, Placement, Size } from './geometry.js'
import type { Pixels } from './pixels.js'

/**
 * Pillow's resampling of 8-bit images, for all filters but `nearest` separable and antialiased (src/libImaging/Resample.c), bit for bit: weights in double
 * precision, rounded to 22 fractional bits, one rounding to 8 bits after each of the two passes.
 * Returns the part of the scaled image that lies inside the placement's result; only that part is computed.
 */
export async function resample(source: Pixels, placement: Placement, interpolation: Interpolation): Promise<Pixels> {
  const { scaled, size, top, left } = placement
  const [fromY, toY] = [Math.max(0, top), Math.min(scaled[0], top + size[0])]
  const [fromX, toX] = [Math.max(0, left), Math.min(scaled[1], left + size[1])]
  if (scaled[0] === source.height && scaled[1] === source.width) return cut(source, fromY, toY, fromX, toX)
  if (interpolation === 'nearest')
    return pick(source, nearest(source.height, scaled[0], fromY, toY), nearest(source.width, scaled[1], fromX, toX))
  const filter = filters[interpolation]
  const columns = axisWeights(source.width, scaled[1], fromX, toX, filter)
  const rows = axisWeights(source.height, scaled[0], fromY, toY, filter)
  if (verticalFirst(source, scaled)) {
    const short = await scaleRows(source, rows, 0)
    return scaleColumns(short, columns, 0, short.height)
  }
  const firstRow = rows.first[0]
  const last = rows.first.length - 1
  const narrow = await scaleColumns(source, columns, firstRow, rows.first[last] + rows.count[last])
  return scaleRows(narrow, rows, firstRow)
}

/** Pillow 13 turns the passes round where the height loses more than twice what the width does; the rounding shows it. */
function verticalFirst({ height, width }: Pixels, [toHeight, toWidth]: Size): boolean {
  return toHeight < height && height - toHeight > 2 * (width - toWidth)
}

function cut(source: Pixels, fromY: number, toY: number, fromX: number, toX: number): Pixels {
  const { width, height, channels } = source
  if (fromY === 0 && fromX === 0 && toY === height && toX === width) return source
  const stride = (toX - fromX) * channels
  const data = new Uint8Array((toY - fromY) * stride)
  for (let y = fromY; y < toY; y++) {
    const start = (y * width + fromX) * channels
    data.set(source.data.subarray(start, start + stride), (y - fromY) * stride)
  }
  return { width: toX - fromX, height: toY - fromY, channels, data }
}

/** Where Pillow's ImagingScaleAffine reads: positions are added up step by step, and the rounding of that shows. */
function nearest(inSize: number, outSize: number, from: number, to: number): Int32Array {
  const step = inSize / outSize
  const places = new Int32Array(to - from)
  for (let i = 0, at = step * 0.5; i < to; i++, at += step) if (i >= from) places[i - from] = Math.trunc(at)
  return places
}

function pick(source: Pixels, rows: Int32Array, columns: Int32Array): Pixels {
  const { width, channels } = source
  const data = new Uint8Array(rows.length * columns.length * channels)
  let to = 0
  for (const y of rows)
    for (const x of columns) {
      const from = (y * width + x) * channels
      for (let c = 0; c < channels; c++) data[to++] = source.data[from + c]
    }
  return { width: columns.length, height: rows.length, channels, data }
}

interface Filter {
  readonly support: number
  weight(x: number): number
}

const sinc = (x: number): number => (x === 0 ? 1 : Math.sin(x * Math.PI) / (x * Math.PI))

const filters: Record<Exclude<Interpolation, 'nearest'>, Filter> = {
  box: { support: 0.5, weight: (x) => (x > -0.5 && x <= 0.5 ? 1 : 0) },
  hamming: {
    support: 1,
    weight(x) {
      const t = Math.abs(x)
      if (t >= 1) return 0
      // The constants are float32 in Pillow.
      return sinc(t) * (Math.fround(0.54) + Math.fround(0.46) * Math.cos(t * Math.PI))
    },
  },
  lanczos: { support: 3, weight: (x) => (x >= -3 && x < 3 ? sinc(x) * sinc(x / 3) : 0) },
  bilinear: { support: 1, weight: (x) => Math.max(0, 1 - Math.abs(x)) },
  // Keys' cubic with a = -0.5, in the order of operations of Pillow.
  bicubic: {
    support: 2,
    weight(x) {
      const a = -0.5
      const t = Math.abs(x)
      if (t < 1) return ((a + 2) * t - (a + 3)) * t * t + 1
      return t < 2 ? (((t - 5) * t + 8) * t - 4) * a : 0
    },
  },
}

const precisionBits = 32 - 8 - 2

/** For every output position its first input position, how many it reads, and their fixed-point weights. */
interface AxisWeights {
  readonly first: Int32Array
  readonly count: Int32Array
  /** `stride` weights for each output position. */
  readonly weights: Int32Array
  readonly stride: number
}

function axisWeights(inSize: number, outSize: number, from: number, to: number, filter: Filter): AxisWeights {
  const scale = inSize / outSize
  const filterScale = Math.max(1, scale)
  const support = filter.support * filterScale
  const stride = Math.ceil(support) * 2 + 1
  const inverse = 1 / filterScale
  const first = new Int32Array(to - from)
  const count = new Int32Array(to - from)
  const weights = new Int32Array((to - from) * stride)
  const exact = new Float64Array(stride)
  for (let i = 0; i < to - from; i++) {
    if (inSize === outSize) {
      // Pillow skips this pass; a single weight of one has the same effect.
      first[i] = from + i
      count[i] = 1
      weights[i * stride] = 1 << precisionBits
      continue
    }
    const centre = (from + i + 0.5) * scale
    const low = Math.max(0, Math.trunc(centre - support + 0.5))
    const high = Math.min(inSize, Math.trunc(centre + support + 0.5))
    let sum = 0
    for (let x = low; x < high; x++) {
      exact[x - low] = filter.weight((x - centre + 0.5) * inverse)
      sum += exact[x - low]
    }
    for (let x = 0; x < high - low; x++) {
      const weight = (sum === 0 ? exact[x] : exact[x] / sum) * (1 << precisionBits)
      weights[i * stride + x] = Math.trunc(weight < 0 ? weight - 0.5 : weight + 0.5)
    }
    first[i] = low
    count[i] = high - low
  }
  return { first, count, weights, stride }
}

/** Multiplications between two returns to the event loop: about a millisecond, so that large photographs never stall it. */
const sliceWork = 500_000

async function scaleColumns(source: Pixels, axis: AxisWeights, fromRow: number, toRow: number): Promise<Pixels> {
  const { channels } = source
  const width = axis.first.length
  const height = toRow - fromRow
  // Clamping to 0…255 is the array's own.
  const data = new Uint8ClampedArray(width * height * channels)
  const pass = channels === 3 ? scaleRgbRow : scaleRow
  const rowWork = width * channels * axis.stride
  for (let y = 0, work = 0; y < height; y++) {
    pass(source.data, (fromRow + y) * source.width * channels, axis, data, y * width * channels, channels)
    work += rowWork
    if (work > sliceWork) {
      await setImmediate()
      work = 0
    }
  }
  return { width, height, channels, data: new Uint8Array(data.buffer) }
}

function scaleRow(
  input: Uint8Array,
  from: number,
  { first, count, weights, stride }: AxisWeights,
  out: Uint8ClampedArray,
  to: number,
  channels: number,
): void {
  for (let x = 0; x < first.length; x++)
    for (let c = 0; c < channels; c++) {
      let at = from + first[x] * channels + c
      let sum = 1 << (precisionBits - 1)
      for (let k = 0; k < count[x]; k++, at += channels) sum += Math.imul(input[at], weights[x * stride + k])
      out[to++] = sum >> precisionBits
    }
}

function scaleRgbRow(
  input: Uint8Array,
  from: number,
  { first, count, weights, stride }: AxisWeights,
  out: Uint8ClampedArray,
  to: number,
): void {
  for (let x = 0; x < first.length; x++) {
    let at = from + first[x] * 3
    let red = 1 << (precisionBits - 1)
    let green = red
    let blue = red
    const taps = count[x]
    for (let k = 0, w = x * stride; k < taps; k++, at += 3) {
      const weight = weights[w + k]
      red += Math.imul(input[at], weight)
      green += Math.imul(input[at + 1], weight)
      blue += Math.imul(input[at + 2], weight)
    }
    out[to] = red >> precisionBits
    out[to + 1] = green >> precisionBits
    out[to + 2] = blue >> precisionBits
    to += 3
  }
}

/** `source` holds the rows from `fromRow` on. */
async function scaleRows(source: Pixels, axis: AxisWeights, fromRow: number): Promise<Pixels> {
  const { width, channels } = source
  const height = axis.first.length
  const stride = width * channels
  const data = new Uint8ClampedArray(height * stride)
  const sums = new Int32Array(stride)
  for (let y = 0, work = 0; y < height; y++) {
    sums.fill(1 << (precisionBits - 1))
    for (let k = 0; k < axis.count[y]; k++)
      accumulate(source.data, (axis.first[y] - fromRow + k) * stride, axis.weights[y * axis.stride + k], sums)
    for (let i = 0, to = y * stride; i < stride; i++) data[to + i] = sums[i] >> precisionBits
    work += stride * axis.stride
    if (work > sliceWork) {
      await setImmediate()
      work = 0
    }
  }
  return { width, height, channels, data: new Uint8Array(data.buffer) }
}

function accumulate(input: Uint8Array, from: number, weight: number, sums: Int32Array): void {
  for (let i = 0; i < sums.length; i++) sums[i] += Math.imul(input[from + i], weight)
}
