import { input, int, ints, make, type Operator, text } from './array.js'
import { multiplyInto } from './product.js'
import { sizeOf } from './strides.js'
import { slide, type Window, windowOf } from './window.js'

const conv: Operator = (call) => {
  const [x, w] = [input(call, 0), input(call, 1)]
  const bias = call.inputs[2]
  const group = int(call, 'group', 1)
  const [n, channels] = x.shape
  const [filters, perGroup] = w.shape
  const spatial = x.shape.slice(2)
  const window = windowOf(call, spatial, ints(call, 'kernel_shape') ?? w.shape.slice(2))
  const [plane, area, taps] = [sizeOf(spatial), sizeOf(window.output), sizeOf(window.kernel)]
  const out = make(x.dtype, [n, filters, ...window.output])
  const filtersPerGroup = filters / group
  // Channel by channel: its taps side by side as a matrix [taps, area], times the filters' weights for it.
  const sources = new Int32Array(taps * area).fill(-1)
  slide(window, spatial, (position, tap, source) => {
    sources[tap * area + position] = source
  })
  const columns = new Float64Array(taps * area)
  for (let i = 0; i < n; i++)
    for (let channel = 0; channel < channels; channel++) {
      const start = (i * channels + channel) * plane
      for (let k = 0; k < columns.length; k++) columns[k] = sources[k] < 0 ? 0 : x.data[start + sources[k]]
      const first = Math.floor(channel / perGroup) * filtersPerGroup
      const weights = (first * perGroup + (channel % perGroup)) * taps
      const to = (i * filters + first) * area
      multiplyInto(out.data, to, w.data, weights, columns, 0, filtersPerGroup, taps, area, perGroup * taps)
    }
  if (bias) for (let i = 0; i < out.data.length; i++) out.data[i] += bias.data[Math.floor(i / area) % filters]
  return out
}

/** Convolution's transpose: scatters where the convolution of the same geometry would gather. */
const convTranspose: Operator = (call) => {
  const [x, w] = [input(call, 0), input(call, 1)]
  const bias = call.inputs[2]
  const group = int(call, 'group', 1)
  const [n, channels] = x.shape
  const perGroup = w.shape[1]
  const filters = perGroup * group
  const spatial = x.shape.slice(2)
  const rank = spatial.length
  const kernel = w.shape.slice(2)
  const strides = ints(call, 'strides') ?? new Array<number>(rank).fill(1)
  const dilations = ints(call, 'dilations') ?? new Array<number>(rank).fill(1)
  const extra = ints(call, 'output_padding') ?? new Array<number>(rank).fill(0)
  const pads = [...(ints(call, 'pads') ?? new Array<number>(2 * rank).fill(0))]
  const wanted = ints(call, 'output_shape')?.slice(-rank)
  const auto = text(call, 'auto_pad', 'NOTSET')
  const full = spatial.map((size, i) => strides[i] * (size - 1) + extra[i] + (kernel[i] - 1) * dilations[i] + 1)
  const target = wanted ?? (auto.startsWith('SAME') ? spatial.map((size, i) => size * strides[i]) : undefined)
  if (target !== undefined)
    for (let i = 0; i < rank; i++) {
      const total = Math.max(0, full[i] - target[i])
      pads[i] = auto === 'SAME_UPPER' ? Math.floor(total / 2) : total - Math.floor(total / 2)
      if (auto === 'NOTSET') pads[i] = Math.floor(total / 2)
      pads[i + rank] = total - pads[i]
    }
  const output = target ?? full.map((size, i) => size - pads[i] - pads[i + rank])
  const window: Window = {
    kernel,
    strides,
    dilations,
    begin: pads.slice(0, rank),
    end: pads.slice(rank),
    output: spatial,
  }
  const [plane, area, taps] = [sizeOf(spatial), sizeOf(output), sizeOf(kernel)]
  const out = make(x.dtype, [n, filters, ...output])
  const channelsPerGroup = channels / group
  slide(window, output, (position, tap, target) => {
    for (let i = 0; i < n; i++)
      for (let c = 0; c < channels; c++) {
        const value = x.data[(i * channels + c) * plane + position]
        const first = Math.floor(c / channelsPerGroup) * perGroup
        for (let f = 0; f < perGroup; f++)
          out.data[(i * filters + first + f) * area + target] += value * w.data[(c * perGroup + f) * taps + tap]
      }
  })
  if (bias) for (let i = 0; i < out.data.length; i++) out.data[i] += bias.data[Math.floor(i / area) % filters]
  return out
}

export const convolution: Record<string, Operator> = { Conv: conv, ConvTranspose: convTranspose }
