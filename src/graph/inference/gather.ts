import { type Dim, isBatch, showDim, showShape } from '../dim.js'
import { intAttribute, type Value } from '../ir.js'
import {
  axisOf,
  type Call,
  type InferenceRules,
  type Inferred,
  knownOf,
  mismatch,
  numberInput,
  required,
  requireRank,
} from './call.js'

function gather(call: Call): Inferred[] {
  const [data, indices] = [required(call, 0), required(call, 1)]
  const axis = axisOf(call, intAttribute(call.attributes, 'axis', 0), data.shape.length)
  const shape = [...data.shape.slice(0, axis), ...indices.shape, ...data.shape.slice(axis + 1)]
  return [{ dtype: data.dtype, shape, known: gatheredKnown(call, data, indices) }]
}

function gatheredKnown(call: Call, data: Value, indices: Value): readonly Dim[] | undefined {
  const { known } = data
  const positions = known === undefined || data.shape.length !== 1 ? undefined : knownOf(indices)
  if (known === undefined || positions === undefined) return undefined
  const out: Dim[] = []
  for (const position of positions) {
    if (isBatch(position)) return undefined
    const at: number = position < 0 ? position + known.length : position
    if (!(at in known))
      throw mismatch(call, 'index out of range', `-${known.length} to ${known.length - 1}`, `${position}`)
    out.push(known[at])
  }
  return out
}

function gatherElements(call: Call): Inferred[] {
  const [data, indices] = [required(call, 0), required(call, 1)]
  requireRank(call, indices, data.shape.length, data.shape.length)
  axisOf(call, intAttribute(call.attributes, 'axis', 0), data.shape.length)
  return [{ dtype: data.dtype, shape: indices.shape }]
}

function gatherND(call: Call): Inferred[] {
  const [data, indices] = [required(call, 0), required(call, 1)]
  const batchAxes = intAttribute(call.attributes, 'batch_dims', 0)
  const depth = indices.shape[indices.shape.length - 1]
  if (depth === undefined || isBatch(depth) || depth < 1 || batchAxes + depth > data.shape.length)
    throw mismatch(
      call,
      'wrong last axis of the indices',
      `1 to ${data.shape.length - batchAxes}`,
      depth === undefined ? 'a scalar' : showDim(depth),
    )
  return [{ dtype: data.dtype, shape: [...indices.shape.slice(0, -1), ...data.shape.slice(batchAxes + depth)] }]
}

function scatterElements(call: Call): Inferred[] {
  const [data, indices, updates] = [required(call, 0), required(call, 1), required(call, 2)]
  requireRank(call, indices, data.shape.length, data.shape.length)
  requireRank(call, updates, data.shape.length, data.shape.length)
  return [{ dtype: data.dtype, shape: data.shape }]
}

function scatterND(call: Call): Inferred[] {
  const [data, indices, updates] = [required(call, 0), required(call, 1), required(call, 2)]
  const depth = indices.shape[indices.shape.length - 1]
  if (depth === undefined || isBatch(depth) || depth > data.shape.length)
    throw mismatch(call, 'wrong last axis of the indices', `at most ${data.shape.length}`, showShape(indices.shape))
  return [{ dtype: data.dtype, shape: data.shape, known: scatteredKnown(call, data, indices, updates) }]
}

/** A size written into a shape vector. */
function scatteredKnown(call: Call, data: Value, indices: Value, updates: Value): readonly Dim[] | undefined {
  if (data.known === undefined || updates.known === undefined || data.shape.length !== 1) return undefined
  const positions = knownOf(indices)
  if (positions === undefined || (call.attributes.reduction ?? 'none') !== 'none') return undefined
  const out = [...data.known]
  for (const [i, position] of positions.entries()) {
    if (isBatch(position)) return undefined
    out[position < 0 ? position + out.length : position] = updates.known[i]
  }
  return out
}

function topK(call: Call): Inferred[] {
  const x = required(call, 0)
  const axis = axisOf(call, intAttribute(call.attributes, 'axis', -1), x.shape.length)
  const [k] = numberInput(call, 1, 'k')
  const size = x.shape[axis]
  if (!isBatch(size) && k > size) throw mismatch(call, 'k is larger than its axis', `at most ${size}`, `${k}`)
  const shape = x.shape.map((dim, i) => (i === axis ? k : dim))
  const outputs: Inferred[] = [
    { dtype: x.dtype, shape },
    { dtype: 'int64', shape },
  ]
  return outputs.slice(0, call.outputs)
}

function oneHot(call: Call): Inferred[] {
  const [indices, values] = [required(call, 0), required(call, 2)]
  const [depth] = numberInput(call, 1, 'depth')
  const axis = axisOf(call, intAttribute(call.attributes, 'axis', -1), indices.shape.length + 1)
  return [{ dtype: values.dtype, shape: [...indices.shape.slice(0, axis), depth, ...indices.shape.slice(axis)] }]
}

/** Reading and writing by index. */
export const gatherRules: InferenceRules = {
  Gather: gather,
  GatherElements: gatherElements,
  GatherND: gatherND,
  ScatterElements: scatterElements,
  ScatterND: scatterND,
  TopK: topK,
  OneHot: oneHot,
}
