import { around, type Call, input, int, make, type Operator, pick, text } from './array.js'
import type { NdArray } from './nd-array.js'
import { normalAxis, normalIndex, sizeOf, stridesOf } from './strides.js'

const gather: Operator = (call) => {
  const [x, indices] = [input(call, 0), input(call, 1)]
  const axis = normalAxis(int(call, 'axis', 0), x.shape.length)
  const [before, size, after] = around(x.shape, axis)
  const count = indices.data.length
  const out = make(x.dtype, [...x.shape.slice(0, axis), ...indices.shape, ...x.shape.slice(axis + 1)])
  for (let i = 0; i < before; i++)
    for (let k = 0; k < count; k++) {
      const from = (i * size + normalIndex(indices.data[k], size)) * after
      out.data.set(x.data.subarray(from, from + after), (i * count + k) * after)
    }
  return out
}

/** For every element of `indices`, the offset in `x` it points at along `axis`. */
function elementOffsets(x: NdArray, indices: NdArray, axis: number): number[] {
  const [strides, own] = [stridesOf(x.shape), stridesOf(indices.shape)]
  return Array.from(indices.data, (at, i) =>
    strides.reduce(
      (sum, stride, a) =>
        sum + stride * (a === axis ? normalIndex(at, x.shape[a]) : Math.floor(i / own[a]) % indices.shape[a]),
      0,
    ),
  )
}

const gatherElements: Operator = (call) => {
  const [x, indices] = [input(call, 0), input(call, 1)]
  const offsets = elementOffsets(x, indices, normalAxis(int(call, 'axis', 0), x.shape.length))
  return make(x.dtype, indices.shape, pick(x.data, offsets))
}

const reductions: Record<string, (old: number, update: number) => number> = {
  none: (_, b) => b,
  add: (a, b) => a + b,
  mul: (a, b) => a * b,
  min: Math.min,
  max: Math.max,
}

const scatterElements: Operator = (call) => {
  const [x, indices, updates] = [input(call, 0), input(call, 1), input(call, 2)]
  const combine = reductions[text(call, 'reduction', 'none')]
  const out = make(x.dtype, x.shape, x.data.slice())
  for (const [i, offset] of elementOffsets(x, indices, normalAxis(int(call, 'axis', 0), x.shape.length)).entries())
    out.data[offset] = combine(out.data[offset], updates.data[i])
  return out
}

/** Where each index tuple of the last axis points, and how many elements lie there. */
function tuples(x: NdArray, indices: NdArray, batchDims: number): { offsets: number[]; length: number } {
  const depth = indices.shape[indices.shape.length - 1]
  const strides = stridesOf(x.shape)
  const perBatch = indices.data.length / depth / sizeOf(indices.shape.slice(0, batchDims))
  const length = sizeOf(x.shape.slice(batchDims + depth))
  const offsets = Array.from({ length: indices.data.length / depth }, (_, row) => {
    let offset = batchDims === 0 ? 0 : Math.floor(row / perBatch) * strides[batchDims - 1]
    for (let k = 0; k < depth; k++)
      offset += normalIndex(indices.data[row * depth + k], x.shape[batchDims + k]) * strides[batchDims + k]
    return offset
  })
  return { offsets, length }
}

const gatherNd: Operator = (call) => {
  const [x, indices] = [input(call, 0), input(call, 1)]
  const batchDims = int(call, 'batch_dims', 0)
  const depth = indices.shape[indices.shape.length - 1]
  const { offsets, length } = tuples(x, indices, batchDims)
  const out = make(x.dtype, [...indices.shape.slice(0, -1), ...x.shape.slice(batchDims + depth)])
  for (const [row, offset] of offsets.entries()) out.data.set(x.data.subarray(offset, offset + length), row * length)
  return out
}

const scatterNd: Operator = (call) => {
  const [x, indices, updates] = [input(call, 0), input(call, 1), input(call, 2)]
  const combine = reductions[text(call, 'reduction', 'none')]
  const { offsets, length } = tuples(x, indices, 0)
  const out = make(x.dtype, x.shape, x.data.slice())
  for (const [row, offset] of offsets.entries())
    for (let i = 0; i < length; i++)
      out.data[offset + i] = combine(out.data[offset + i], updates.data[row * length + i])
  return out
}

const oneHot: Operator = (call) => {
  const [indices, depth, values] = [input(call, 0), input(call, 1).data[0], input(call, 2)]
  const axis = normalAxis(int(call, 'axis', -1), indices.shape.length + 1)
  const shape = [...indices.shape.slice(0, axis), depth, ...indices.shape.slice(axis)]
  const [, , after] = around(shape, axis)
  const out = make(values.dtype, shape)
  for (let i = 0; i < out.data.length; i++) {
    const position = Math.floor(i / (after * depth)) * after + (i % after)
    // An index outside the depth is no error here: it has no hot element.
    const index = indices.data[position] < 0 ? indices.data[position] + depth : indices.data[position]
    out.data[i] = values.data[Number(index === Math.floor(i / after) % depth)]
  }
  return out
}

const topK: Operator = (call) => {
  const x = input(call, 0)
  const k = input(call, 1).data[0]
  const axis = normalAxis(int(call, 'axis', -1), x.shape.length)
  const largest = int(call, 'largest', 1) === 1
  const [before, size, after] = around(x.shape, axis)
  const shape = x.shape.map((d, i) => (i === axis ? k : d))
  const [values, indices] = [make(x.dtype, shape), make('int64', shape)]
  for (let i = 0; i < before; i++)
    for (let j = 0; j < after; j++) {
      const at = (n: number): number => x.data[(i * size + n) * after + j]
      // Equal values come in the order of their positions.
      const order = Array.from({ length: size }, (_, n) => n).sort(
        (a, b) => (largest ? at(b) - at(a) : at(a) - at(b)) || a - b,
      )
      for (let n = 0; n < k; n++) {
        values.data[(i * k + n) * after + j] = at(order[n])
        indices.data[(i * k + n) * after + j] = order[n]
      }
    }
  return [values, indices].slice(0, call.outputs)
}

export const indexing: Record<string, Operator> = {
  Gather: gather,
  GatherElements: gatherElements,
  GatherND: gatherNd,
  ScatterElements: scatterElements,
  ScatterND: scatterNd,
  OneHot: oneHot,
  TopK: (call: Call) => topK(call),
}
