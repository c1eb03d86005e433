import {
  type Dim,
  divideDims,
  type GraphBuilder,
  intAttribute,
  intsAttribute,
  isBatch,
  sameDim,
  type Value,
} from '../../graph/index.js'
import type { VjpRule } from '../rule.js'
import { scatterAlong } from './scatter-along.js'
import {
  constantInput,
  noGradient,
  normalAxis,
  numberDim,
  outputGradient,
  range,
  required,
  unary,
  unsupported,
  type VjpRules,
} from './shared.js'

const sameElements: VjpRule = (c) => {
  const x = required(c, 0)
  return c.inputs.map((_, i) => (i === 0 ? c.b.reshape(outputGradient(c), x.shape) : undefined))
}

const transpose: VjpRule = unary((b, g, x, _y, node) => {
  const perm = intsAttribute(node.attributes, 'perm') ?? range(0, x.shape.length).reverse()
  return b.transpose(
    g,
    range(0, perm.length).map((axis) => perm.indexOf(axis)),
  )
})

const expand: VjpRule = (c) => [c.b.sumTo(outputGradient(c), required(c, 0).shape), undefined]

const tile: VjpRule = (c) => {
  const x = required(c, 0)
  // Read off the result: how often a class token is repeated may depend on the batch.
  const split = x.shape.flatMap((dim, axis): Dim[] => {
    const repeats = divideDims(c.outputs[0].shape[axis], dim)
    if (repeats === undefined) throw unsupported(c, 'repeats that are not known')
    return [repeats, dim]
  })
  const summed = c.b.reduceSum(
    c.b.reshape(outputGradient(c), split),
    range(0, x.shape.length).map((axis) => 2 * axis),
    false,
  )
  return [c.b.reshape(summed, x.shape), undefined]
}

const concat: VjpRule = (c) => {
  const g = outputGradient(c)
  const axis = normalAxis(intAttribute(c.node.attributes, 'axis', 0), g.shape.length)
  let start = 0
  return c.inputs.map((x, i) => {
    if (x === undefined) return undefined
    const from = start
    const size = x.shape[axis]
    if (isBatch(size)) {
      if (c.needs.some(Boolean)) throw unsupported(c, 'parts whose size depends on the batch')
      return undefined
    }
    start += size
    return c.needs[i] ? c.b.slice(g, [from], [start], [axis]) : undefined
  })
}

const split: VjpRule = (c) => {
  const axis = normalAxis(intAttribute(c.node.attributes, 'axis', 0), c.outputs[0].shape.length)
  return [
    c.b.concat(
      c.outputs.map((output, i) => c.gradients[i] ?? c.b.full(output.shape, 0)),
      axis,
    ),
    undefined,
  ]
}

/** Puts g back at start, start + step, … of an axis of the given size, zeros elsewhere. */
function placeAlong(b: GraphBuilder, g: Value, axis: number, start: number, step: number, size: number): Value {
  const count = g.shape[axis] as number
  if (step < 0) {
    const reversed = b.slice(g, [-1], [Number.MIN_SAFE_INTEGER], [axis], [-1])
    return placeAlong(b, reversed, axis, start + (count - 1) * step, -step, size)
  }
  let spaced = g
  if (step > 1) {
    const wide = [...g.shape.slice(0, axis + 1), 1, ...g.shape.slice(axis + 1)]
    const zeros = padAxis(b, b.reshape(g, wide), axis + 1, 0, step - 1)
    spaced = b.slice(
      b.reshape(
        zeros,
        g.shape.map((dim, i) => (i === axis ? count * step : dim)),
      ),
      [0],
      [(count - 1) * step + 1],
      [axis],
    )
  }
  return padAxis(b, spaced, axis, start, size - start - (spaced.shape[axis] as number))
}

export function padAxis(b: GraphBuilder, x: Value, axis: number, before: number, after: number): Value {
  if (before === 0 && after === 0) return x
  const pads = [...x.shape.map((_, i) => (i === axis ? before : 0)), ...x.shape.map((_, i) => (i === axis ? after : 0))]
  return b.emit('Pad', [x, b.ints(pads)])
}

const slice: VjpRule = (c) => {
  const x = required(c, 0)
  const [starts, axes, steps] = [constantInput(c, 1) ?? [], constantInput(c, 3), constantInput(c, 4)]
  let g = outputGradient(c)
  for (const [i, from] of starts.entries()) {
    const axis = normalAxis(axes?.[i] ?? i, x.shape.length)
    const step = steps?.[i] ?? 1
    if (step === 1 && sameDim(x.shape[axis], g.shape[axis])) continue
    const size = numberDim(c, x.shape[axis], 'a sliced axis')
    const start = Math.min(Math.max(from < 0 ? from + size : from, 0), step > 0 ? size : size - 1)
    g = placeAlong(c.b, g, axis, start, step, size)
  }
  return [g, undefined, undefined, undefined, undefined]
}

const pad: VjpRule = (c) => {
  const { b, node } = c
  const x = required(c, 0)
  const rank = x.shape.length
  const given = constantInput(c, 1) ?? []
  const axes = constantInput(c, 3)?.map((axis) => normalAxis(axis, rank)) ?? range(0, rank)
  const mode = String(node.attributes.mode ?? 'constant')
  let g = outputGradient(c)
  for (const [i, axis] of axes.entries()) {
    const [before, after] = [given[i], given[i + axes.length]]
    if (before === 0 && after === 0) continue
    const size = numberDim(c, x.shape[axis], 'a padded axis')
    if (mode === 'constant') {
      const cut = b.slice(
        g,
        [Math.max(0, before)],
        [Math.max(0, before) + size + Math.min(0, before) + Math.min(0, after)],
        [axis],
      )
      g = padAxis(b, cut, axis, Math.max(0, -before), Math.max(0, -after))
    } else {
      g = scatterAlong(b, g, axis, b.ints(range(-before, size + after).map((at) => sourceOf(mode, at, size))), x.shape)
    }
  }
  return [g, ...c.inputs.slice(1).map(() => undefined)]
}

/** Where padding takes its element from. */
function sourceOf(mode: string, at: number, size: number): number {
  if (at >= 0 && at < size) return at
  if (mode === 'edge') return at < 0 ? 0 : size - 1
  if (mode === 'wrap') return ((at % size) + size) % size
  const period = Math.max(1, 2 * (size - 1))
  const folded = ((at % period) + period) % period
  return folded < size ? folded : period - folded
}

/** The rearrangement of DepthToSpace undone axis by axis, for both of its modes. */
const depthToSpace: VjpRule = unary((b, g, x, _y, node) => {
  const [n, channels, h, w] = x.shape as [Dim, number, number, number]
  const size = intAttribute(node.attributes, 'blocksize', 1)
  const depth = channels / (size * size)
  const six = b.reshape(g, [n, depth, h, size, w, size])
  return b.reshape(b.transpose(six, node.attributes.mode === 'CRD' ? [0, 1, 3, 5, 2, 4] : [0, 3, 5, 1, 2, 4]), x.shape)
})

export const shapeRules: VjpRules = {
  Reshape: sameElements,
  Flatten: sameElements,
  Squeeze: sameElements,
  Unsqueeze: sameElements,
  Transpose: transpose,
  Expand: expand,
  Tile: tile,
  Concat: concat,
  Split: split,
  Slice: slice,
  Pad: pad,
  DepthToSpace: depthToSpace,
  SpaceToDepth: unary((b, g, _x, _y, node) =>
    b.emit('DepthToSpace', [g], { blocksize: intAttribute(node.attributes, 'blocksize', 1) }),
  ),
  Trilu: (c) => [c.b.emit('Trilu', [outputGradient(c), c.inputs[1]], c.node.attributes), undefined],
  Shape: noGradient,
  Size: noGradient,
  ConstantOfShape: noGradient,
  Range: noGradient,
  EyeLike: noGradient,
  OneHot: noGradient,
}
