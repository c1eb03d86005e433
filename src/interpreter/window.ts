import { type Call, int, ints, text } from './array.js'

/** The geometry of a sliding window over the spatial axes: what convolutions and pools share. */
export interface Window {
  readonly kernel: readonly number[]
  readonly strides: readonly number[]
  readonly dilations: readonly number[]
  /** Before and after, per axis. */
  readonly begin: readonly number[]
  readonly end: readonly number[]
  /** Positions per axis. */
  readonly output: readonly number[]
}

export function windowOf(call: Call, spatial: readonly number[], kernel: readonly number[]): Window {
  const rank = spatial.length
  const strides = ints(call, 'strides') ?? new Array<number>(rank).fill(1)
  const dilations = ints(call, 'dilations') ?? new Array<number>(rank).fill(1)
  const pads = ints(call, 'pads') ?? new Array<number>(2 * rank).fill(0)
  const auto = text(call, 'auto_pad', 'NOTSET')
  const span = kernel.map((k, i) => (k - 1) * dilations[i] + 1)
  const begin = pads.slice(0, rank)
  const end = pads.slice(rank)
  if (auto === 'SAME_UPPER' || auto === 'SAME_LOWER')
    for (let i = 0; i < rank; i++) {
      const total = Math.max(0, (Math.ceil(spatial[i] / strides[i]) - 1) * strides[i] + span[i] - spatial[i])
      begin[i] = auto === 'SAME_UPPER' ? Math.floor(total / 2) : Math.ceil(total / 2)
      end[i] = total - begin[i]
    }
  if (auto === 'VALID') {
    begin.fill(0)
    end.fill(0)
  }
  const ceil = int(call, 'ceil_mode', 0) === 1
  const output = spatial.map((size, i) => {
    const room = (size + begin[i] + end[i] - span[i]) / strides[i]
    if (!ceil) return Math.floor(room) + 1
    const count = Math.ceil(room) + 1
    // A window that would start in the padding after the end is left out.
    return (count - 1) * strides[i] >= size + begin[i] ? count - 1 : count
  })
  return { kernel, strides, dilations, begin, end, output }
}

/**
 * Calls `visit(position, tap, source)` for every position of the window and every tap that falls on the input (row-major numbers;
 * `source` is the offset in one channel's plane).
 */
export function slide(
  window: Window,
  spatial: readonly number[],
  visit: (position: number, tap: number, source: number) => void,
): void {
  const rank = spatial.length
  const positions = window.output.reduce((a, b) => a * b, 1)
  const taps = window.kernel.reduce((a, b) => a * b, 1)
  const p = new Array<number>(rank)
  const t = new Array<number>(rank)
  for (let position = 0; position < positions; position++) {
    for (let axis = rank - 1, rest = position; axis >= 0; axis--) {
      p[axis] = rest % window.output[axis]
      rest = Math.floor(rest / window.output[axis])
    }
    for (let tap = 0; tap < taps; tap++) {
      for (let axis = rank - 1, rest = tap; axis >= 0; axis--) {
        t[axis] = rest % window.kernel[axis]
        rest = Math.floor(rest / window.kernel[axis])
      }
      let source = 0
      let inside = true
      for (let axis = 0; axis < rank; axis++) {
        const at = p[axis] * window.strides[axis] - window.begin[axis] + t[axis] * window.dilations[axis]
        if (at < 0 || at >= spatial[axis]) {
          inside = false
          break
        }
        source = source * spatial[axis] + at
      }
      if (inside) visit(position, tap, source)
    }
  }
}
