import { addDims, type Dim, divideDims, isBatch, sameDim, showDim, showShape } from '../dim.js'
import { intAttribute, type Value } from '../ir.js'
import {
  axesInput,
  axisOf,
  type Call,
  type InferenceRules,
  type Inferred,
  knownInput,
  mismatch,
  numberInput,
  required,
  requireRank,
} from './call.js'

function concat(call: Call): Inferred[] {
  const values = call.inputs.map((_, i) => required(call, i))
  const first = required(call, 0)
  requireRank(call, first, 1)
  const axis = axisOf(call, intAttribute(call.attributes, 'axis', 0), first.shape.length)
  const shape = [...first.shape]
  for (const value of values.slice(1)) {
    const fits =
      value.shape.length === shape.length && value.shape.every((dim, i) => i === axis || sameDim(dim, shape[i]))
    const sum = fits ? addDims(shape[axis], value.shape[axis]) : undefined
    if (sum === undefined)
      throw mismatch(call, `cannot be joined along axis ${axis}`, showShape(first.shape), showShape(value.shape))
    shape[axis] = sum
  }
  return [{ dtype: first.dtype, shape, known: joinedKnown(values) }]
}

function joinedKnown(values: readonly Value[]): readonly Dim[] | undefined {
  const all: Dim[] = []
  for (const { known, shape } of values) {
    if (known === undefined || shape.length !== 1) return undefined
    all.push(...known)
  }
  return all
}

function split(call: Call): Inferred[] {
  const x = required(call, 0)
  const axis = axisOf(call, intAttribute(call.attributes, 'axis', 0), x.shape.length)
  const sizes = call.inputs[1] === undefined ? evenSizes(call, x.shape[axis]) : knownInput(call, 1, 'split sizes')
  let total: Dim | undefined = 0
  for (const dim of sizes) total = total === undefined ? undefined : addDims(total, dim)
  if (total === undefined || !sameDim(total, x.shape[axis]) || sizes.length !== call.outputs)
    throw mismatch(
      call,
      `cannot be split along axis ${axis} into ${call.outputs}`,
      `sizes that add up to ${showDim(x.shape[axis])}`,
      showShape(sizes),
    )
  let start = 0
  return sizes.map((dim) => {
    const shape = x.shape.map((other, i) => (i === axis ? dim : other))
    if (x.known === undefined || x.shape.length !== 1 || isBatch(dim)) return { dtype: x.dtype, shape }
    const known = x.known.slice(start, start + dim)
    start += dim
    return { dtype: x.dtype, shape, known }
  })
}

/** Equal parts; the last one is smaller where they do not divide. */
function evenSizes(call: Call, total: Dim): readonly Dim[] {
  const parts = intAttribute(call.attributes, 'num_outputs', call.outputs)
  if (isBatch(total)) {
    const part = divideDims(total, parts)
    if (part === undefined) throw mismatch(call, 'the batch axis does not divide', `${parts} parts`, showDim(total))
    return Array.from({ length: parts }, () => part)
  }
  const part = Math.ceil(total / parts)
  return Array.from({ length: parts }, (_, i) => Math.max(0, Math.min(part, total - i * part)))
}

/** First and last index of a Slice along one axis and how many elements it takes, after clamping as the standard has it. */
export function sliceRange(start: number, end: number, step: number, size: number): { start: number; count: number } {
  const low = step > 0 ? 0 : -1
  const high = step > 0 ? size : size - 1
  const clamp = (at: number) => Math.min(high, Math.max(low, at < 0 ? at + size : at))
  const from = Math.min(step > 0 ? size : size - 1, Math.max(0, start < 0 ? start + size : start))
  return { start: from, count: Math.max(0, Math.ceil((clamp(end) - from) / step)) }
}

/** Whether a Slice from `start` to `end` takes every element of an axis, whatever N is. */
export function slicesAll(start: Dim, end: Dim, step: number, dim: Dim): boolean {
  if (step !== 1 || start !== 0) return false
  if (isBatch(dim)) return isBatch(end) ? end.factor >= dim.factor : end >= 2 ** 31 - 1
  return !isBatch(end) && end >= dim
}

function slice(call: Call): Inferred[] {
  const x = required(call, 0)
  const rank = x.shape.length
  const starts = knownInput(call, 1, 'starts')
  const ends = knownInput(call, 2, 'ends')
  const axes = axesInput(call, 3, rank) ?? starts.map((_, axis) => axis)
  const steps = call.inputs[4] === undefined ? starts.map(() => 1) : numberInput(call, 4, 'steps')
  const shape = [...x.shape]
  let known = x.known
  axes.forEach((axis, i) => {
    const dim = x.shape[axis]
    const [start, end, step] = [starts[i], ends[i], steps[i]]
    if (step === 0) throw mismatch(call, 'a step is zero', 'another', '0')
    if (slicesAll(start, end, step, dim)) return
    if (isBatch(dim) || isBatch(start) || isBatch(end))
      throw mismatch(
        call,
        'takes a part of the batch',
        'all of it',
        `${showDim(start)}:${showDim(end)}:${step} of ${showDim(dim)}`,
      )
    const range = sliceRange(start, end, step, dim)
    shape[axis] = range.count
    known =
      known === undefined || rank !== 1
        ? undefined
        : Array.from({ length: range.count }, (_, k) => known![range.start + k * step])
  })
  return [{ dtype: x.dtype, shape, known }]
}

/** Joining and cutting along axes. */
export const joinRules: InferenceRules = { Concat: concat, Split: split, Slice: slice }
