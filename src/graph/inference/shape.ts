import { type Dim, divideDims, isBatch, sameDim, showDim, showShape } from '../dim.js'
import { intAttribute, type Value } from '../ir.js'
import {
  axesInput,
  axisOf,
  type Call,
  type InferenceRules,
  type Inferred,
  intsOr,
  knownInput,
  mismatch,
  numberInput,
  numbersOnly,
  required,
  sizeOf,
} from './call.js'
import { broadcastOffset } from './known.js'

/** The target of a Reshape with 0 (copy) and −1 (whatever is left) filled in. */
function reshape(call: Call): Inferred[] {
  const x = required(call, 0)
  const wanted = knownInput(call, 1, 'target sizes')
  const zeroCopies = intAttribute(call.attributes, 'allowzero', 0) === 0
  const shape = wanted.map((dim, i) => (dim === 0 && zeroCopies ? (x.shape[i] ?? 0) : dim))
  const total = sizeOf(call, x.shape)
  const open = shape.indexOf(-1)
  if (open >= 0) {
    const rest = sizeOf(
      call,
      shape.filter((_, i) => i !== open),
    )
    const left = rest === 0 && total === 0 ? 0 : divideDims(total, rest)
    if (left === undefined) throw mismatch(call, 'sizes do not divide', showShape(x.shape), showShape(shape))
    shape[open] = left
  }
  if (!sameDim(sizeOf(call, shape), total))
    throw mismatch(call, 'numbers of elements differ', showShape(x.shape), showShape(shape))
  return [{ dtype: x.dtype, shape, known: x.known }]
}

function flatten(call: Call): Inferred[] {
  const x = required(call, 0)
  const given = intAttribute(call.attributes, 'axis', 1)
  const axis = given < 0 ? given + x.shape.length : given
  return [{ dtype: x.dtype, shape: [sizeOf(call, x.shape.slice(0, axis)), sizeOf(call, x.shape.slice(axis))] }]
}

function transpose(call: Call): Inferred[] {
  const x = required(call, 0)
  const rank = x.shape.length
  const perm = intsOr(
    call,
    'perm',
    Array.from({ length: rank }, (_, i) => rank - 1 - i),
  )
  if (perm.length !== rank || new Set(perm).size !== rank || perm.some((axis) => !(axis >= 0 && axis < rank)))
    throw mismatch(call, 'wrong permutation', `each of ${rank} axes once`, `[${perm}]`)
  return [{ dtype: x.dtype, shape: perm.map((axis) => x.shape[axis]), known: rank <= 1 ? x.known : undefined }]
}

function squeeze(call: Call): Inferred[] {
  const x = required(call, 0)
  const axes = axesInput(call, 1, x.shape.length)
  for (const axis of axes ?? [])
    if (x.shape[axis] !== 1) throw mismatch(call, `axis ${axis} cannot be dropped`, 'size 1', showShape(x.shape))
  const shape = x.shape.filter((dim, axis) => (axes === undefined ? dim !== 1 : !axes.includes(axis)))
  return [{ dtype: x.dtype, shape, known: x.known }]
}

function unsqueeze(call: Call): Inferred[] {
  const x = required(call, 0)
  const given = numberInput(call, 1, 'axes')
  const rank = x.shape.length + given.length
  const axes = new Set(given.map((axis) => axisOf(call, axis, rank)))
  if (axes.size !== given.length) throw mismatch(call, 'an axis is given twice', 'distinct axes', `[${given}]`)
  let next = 0
  const shape = Array.from({ length: rank }, (_, axis) => (axes.has(axis) ? 1 : x.shape[next++]))
  return [{ dtype: x.dtype, shape, known: x.known }]
}

/** Expand broadcasts both ways: a 1 in the target keeps the size of the input. */
function expand(call: Call): Inferred[] {
  const x = required(call, 0)
  const target = knownInput(call, 1, 'target sizes')
  const rank = Math.max(x.shape.length, target.length)
  const shape = Array.from({ length: rank }, (_, axis): Dim => {
    const from = x.shape[axis - (rank - x.shape.length)] ?? 1
    const to = target[axis - (rank - target.length)] ?? 1
    if (to === 1 || sameDim(from, to)) return from
    if (from === 1) return to
    throw mismatch(call, 'cannot be expanded', showShape(target), showShape(x.shape))
  })
  return [{ dtype: x.dtype, shape, known: expandedKnown(x, shape) }]
}

function expandedKnown(x: Value, shape: readonly Dim[]): readonly Dim[] | undefined {
  const { known } = x
  if (known === undefined || shape.some(isBatch)) return undefined
  const sizes = shape as readonly number[]
  const count = sizes.reduce((a, b) => a * b, 1)
  if (count > 1024) return undefined
  return Array.from({ length: count }, (_, i) => known[broadcastOffset(i, sizes, x.shape as readonly number[])])
}

function tile(call: Call): Inferred[] {
  const x = required(call, 0)
  const repeats = knownInput(call, 1, 'repeats')
  if (repeats.length !== x.shape.length)
    throw mismatch(call, 'wrong number of repeats', `${x.shape.length}`, `${repeats.length}`)
  return [{ dtype: x.dtype, shape: x.shape.map((dim, i) => sizeOf(call, [dim, repeats[i]])) }]
}

function depthToSpace(call: Call): Inferred[] {
  const x = required(call, 0)
  const block = intAttribute(call.attributes, 'blocksize', 1)
  const [batch, channels, height, width] = x.shape
  const [c, h, w] = numbersOnly(call, [channels, height, width], 'sizes')
  const shape =
    call.op === 'DepthToSpace'
      ? [batch, c / (block * block), h * block, w * block]
      : [batch, c * block * block, h / block, w / block]
  if (!shape.every((dim) => isBatch(dim) || Number.isInteger(dim)))
    throw mismatch(call, 'sizes do not divide', `a multiple of ${block}`, showShape(x.shape))
  return [{ dtype: x.dtype, shape }]
}

/** The sizes themselves, from axis `start` to `end`. */
function shapeOf(call: Call): Inferred[] {
  const x = required(call, 0)
  const rank = x.shape.length
  const clamp = (axis: number) => Math.min(rank, Math.max(0, axis < 0 ? axis + rank : axis))
  const start = clamp(intAttribute(call.attributes, 'start', 0))
  const end = clamp(intAttribute(call.attributes, 'end', rank))
  const known = x.shape.slice(start, end)
  return [{ dtype: 'int64', shape: [known.length], known }]
}

function size(call: Call): Inferred[] {
  return [{ dtype: 'int64', shape: [], known: [sizeOf(call, required(call, 0).shape)] }]
}

function pad(call: Call): Inferred[] {
  const x = required(call, 0)
  const pads = numberInput(call, 1, 'pads')
  const axes = axesInput(call, 3, x.shape.length) ?? x.shape.map((_, axis) => axis)
  if (pads.length !== 2 * axes.length)
    throw mismatch(call, 'wrong number of pads', `${2 * axes.length}`, `${pads.length}`)
  const shape = x.shape.map((dim, axis) => {
    const i = axes.indexOf(axis)
    const extra = i < 0 ? 0 : pads[i] + pads[i + axes.length]
    if (extra === 0) return dim
    if (isBatch(dim)) throw mismatch(call, 'pads the batch axis', 'no padding there', `${extra} on ${showDim(dim)}`)
    if (dim + extra < 0) throw mismatch(call, 'crops more than there is', `at most ${dim}`, `${-extra}`)
    return dim + extra
  })
  return [{ dtype: x.dtype, shape }]
}

/** Rearrangements that move or repeat elements. */
export const shapeRules: InferenceRules = {
  Reshape: reshape,
  Flatten: flatten,
  Transpose: transpose,
  Squeeze: squeeze,
  Unsqueeze: unsqueeze,
  Expand: expand,
  Tile: tile,
  DepthToSpace: depthToSpace,
  SpaceToDepth: depthToSpace,
  Shape: shapeOf,
  Size: size,
  Pad: pad,
}
