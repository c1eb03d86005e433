import { input, make, type Operator, text, vector } from './array.js'
import { normalAxis, stridesOf } from './strides.js'

const pad: Operator = (call) => {
  const x = input(call, 0)
  const rank = x.shape.length
  const given = Array.from(input(call, 1).data)
  const value = call.inputs[2]?.data[0] ?? 0
  const axes = vector(call.inputs[3])?.map((axis) => normalAxis(axis, rank)) ?? x.shape.map((_, axis) => axis)
  const [before, after] = [x.shape.map(() => 0), x.shape.map(() => 0)]
  for (const [i, axis] of axes.entries()) {
    before[axis] = given[i]
    after[axis] = given[i + axes.length]
  }
  const mode = text(call, 'mode', 'constant')
  const shape = x.shape.map((size, axis) => size + before[axis] + after[axis])
  const source = (at: number, size: number): number => {
    if (at >= 0 && at < size) return at
    if (mode === 'edge') return at < 0 ? 0 : size - 1
    if (mode === 'wrap') return ((at % size) + size) % size
    if (mode === 'reflect') {
      const period = Math.max(1, 2 * (size - 1))
      const folded = ((at % period) + period) % period
      return folded < size ? folded : period - folded
    }
    return -1
  }
  const strides = stridesOf(x.shape)
  const out = make(x.dtype, shape)
  const index = x.shape.map(() => 0)
  for (let i = 0; i < out.data.length; i++) {
    let offset = 0
    for (let axis = 0; axis < rank && offset >= 0; axis++) {
      const at = source(index[axis] - before[axis], x.shape[axis])
      offset = at < 0 ? -1 : offset + at * strides[axis]
    }
    out.data[i] = offset < 0 ? value : x.data[offset]
    for (let axis = rank - 1; axis >= 0 && ++index[axis] >= shape[axis]; axis--) index[axis] = 0
  }
  return out
}

export const padding: Record<string, Operator> = { Pad: pad }
