import {
  type Dim,
  type GraphBuilder,
  intAttribute,
  intsAttribute,
  multiplyDims,
  type Node,
  slidingWindow,
  type Value,
  type Window,
} from '../../graph/index.js'
import type { VjpContext, VjpRule } from '../rule.js'
import { numberDim, outputGradient, range, required, type VjpRules } from './shared.js'

/**
 * Attributes of the ConvTranspose that maps a gradient over the window's positions back onto an input of the given sizes. Where the
 * last window does not reach the end of the input, output_padding makes up for it; where ceil_mode lets it reach beyond, padding.
 */
export function transposedWindow(window: Window, input: readonly number[]): Record<string, readonly number[]> {
  const { kernel, strides, dilations, begins, output } = window
  const over = input.map(
    (size, i) => strides[i] * (output[i] - 1) + (kernel[i] - 1) * dilations[i] + 1 - begins[i] - size,
  )
  const extra = over.map((n) => Math.max(0, -n))
  return {
    strides,
    dilations,
    pads: [...begins, ...over.map((n) => Math.max(0, n))],
    ...(extra.some((n) => n > 0) && { output_padding: extra }),
  }
}

const spatialOf = (c: VjpContext, value: Value): number[] =>
  value.shape.slice(2).map((dim) => numberDim(c, dim, 'a spatial size'))
const groupsOf = (node: Node): number => intAttribute(node.attributes, 'group', 1)

/**
 * d(scalar)/d(weight) of a convolution: a convolution of the input with the gradient in which batch and channels have changed places
 * and strides and dilations too. Groups become a part of the batch.
 */
function weightGradient(b: GraphBuilder, x: Value, g: Value, window: Window, groups: number): Value {
  const rank = window.kernel.length
  const spatial = range(2, 2 + rank)
  const split = (value: Value): Value => {
    const [n, channels, ...sizes] = value.shape
    return b.reshape(value, [n, groups, (channels as number) / groups, ...sizes])
  }
  const [n, channels, ...inputSizes] = x.shape
  const [, filters, ...outputSizes] = g.shape
  const [perGroup, filtersPerGroup] = [(channels as number) / groups, (filters as number) / groups]
  const batches = multiplyDims(n, groups) as Dim
  // [N,G,I,…] → [I,G·N,…] and [N,G,O,…] → [G·O,N,…]
  const tail = range(3, 3 + rank)
  const signal =
    groups === 1
      ? b.transpose(x, [1, 0, ...spatial])
      : b.reshape(b.transpose(split(x), [2, 1, 0, ...tail]), [perGroup, batches, ...inputSizes])
  const filter =
    groups === 1
      ? b.transpose(g, [1, 0, ...spatial])
      : b.reshape(b.transpose(split(g), [1, 2, 0, ...tail]), [filters, n, ...outputSizes])
  const full = b.emit('Conv', [signal, filter], {
    strides: window.dilations,
    dilations: window.strides,
    pads: [...window.begins, ...window.ends],
    ...(groups > 1 && { group: groups }),
  })
  // Inputs that no window reaches give positions beyond the kernel.
  const fits = full.shape.slice(2).every((dim, i) => dim === window.kernel[i])
  const cropped = fits
    ? full
    : b.slice(
        full,
        window.kernel.map(() => 0),
        window.kernel,
        spatial,
      )
  if (groups === 1) return b.transpose(cropped, [1, 0, ...spatial])
  const parts = b.reshape(cropped, [perGroup, groups, filtersPerGroup, ...window.kernel])
  return b.reshape(b.transpose(parts, [1, 2, 0, ...tail]), [filters, perGroup, ...window.kernel])
}

const biasGradient = (b: GraphBuilder, g: Value): Value =>
  b.reduceSum(
    g,
    g.shape.map((_, axis) => axis).filter((axis) => axis !== 1),
    false,
  )

const conv: VjpRule = (c) => {
  const { b, node } = c
  const [x, w, g] = [required(c, 0), required(c, 1), outputGradient(c)]
  const input = spatialOf(c, x)
  const window = slidingWindow(node.op, node.attributes, input, w.shape.slice(2) as number[])
  const groups = groupsOf(node)
  return [
    c.needs[0]
      ? b.emit('ConvTranspose', [g, w], { ...transposedWindow(window, input), ...(groups > 1 && { group: groups }) })
      : undefined,
    c.needs[1] ? weightGradient(b, x, g, window, groups) : undefined,
    c.needs[2] ? biasGradient(b, g) : undefined,
  ]
}

/** The transposed convolution's window, seen from its output: the geometry of the convolution it transposes. */
function windowOfTransposed(c: VjpContext, x: Value, w: Value): Window {
  const { attributes } = c.node
  const [input, output] = [spatialOf(c, x), spatialOf(c, c.outputs[0])]
  const kernel = w.shape.slice(2) as number[]
  const ones = input.map(() => 1)
  const strides = intsAttribute(attributes, 'strides') ?? ones
  const dilations = intsAttribute(attributes, 'dilations') ?? ones
  const pads = intsAttribute(attributes, 'pads')
  const auto = String(attributes.auto_pad ?? 'NOTSET')
  const extra = intsAttribute(attributes, 'output_padding') ?? input.map(() => 0)
  const free = intsAttribute(attributes, 'output_shape') !== undefined || auto.startsWith('SAME')
  const totals = input.map((size, i) =>
    Math.max(0, strides[i] * (size - 1) + extra[i] + (kernel[i] - 1) * dilations[i] + 1 - output[i]),
  )
  const begins = free
    ? totals.map((total) => (auto === 'SAME_LOWER' ? Math.ceil(total / 2) : Math.floor(total / 2)))
    : (pads?.slice(0, input.length) ?? input.map(() => 0))
  const ends = input.map(
    (size, i) => strides[i] * (size - 1) + (kernel[i] - 1) * dilations[i] + 1 - begins[i] - output[i],
  )
  return { kernel, strides, dilations, begins, ends, output: input }
}

const convTranspose: VjpRule = (c) => {
  const { b, node } = c
  const [x, w, g] = [required(c, 0), required(c, 1), outputGradient(c)]
  const window = windowOfTransposed(c, x, w)
  const groups = groupsOf(node)
  // Where output_padding made the output longer than the windows reach, the end counts as negative padding: cut it off.
  const cut = window.ends.map((n) => Math.max(0, -n))
  const reached = cut.some((n) => n > 0)
    ? b.slice(
        g,
        cut.map(() => 0),
        spatialOf(c, g).map((size, i) => size - cut[i]),
        range(2, 2 + cut.length),
      )
    : g
  const trimmed: Window = { ...window, ends: window.ends.map((n) => Math.max(0, n)) }
  const pads = [...trimmed.begins, ...trimmed.ends]
  return [
    c.needs[0]
      ? b.emit('Conv', [reached, w], {
          strides: window.strides,
          dilations: window.dilations,
          pads,
          ...(groups > 1 && { group: groups }),
        })
      : undefined,
    c.needs[1] ? weightGradient(b, reached, x, trimmed, groups) : undefined,
    c.needs[2] ? biasGradient(b, g) : undefined,
  ]
}

export const convRules: VjpRules = { Conv: conv, ConvTranspose: convTranspose }
