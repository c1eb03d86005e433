import { around, type Call, input, int, make, type Operator } from './array.js'
import type { NdArray } from './nd-array.js'
import { logSumExp } from './reduce.js'
import { normalAxis } from './strides.js'

const softmaxOf = (line: Float64Array, total: number): Float64Array => line.map((v) => Math.exp(v - total))
const shifted = (line: Float64Array, by: number): Float64Array => line.map((v) => v - by)

function oneHot(line: Float64Array): Float64Array {
  const first = line.indexOf(line.reduce((a, b) => Math.max(a, b)))
  return line.map((_, i) => Number(i === first))
}

/** Applies `f` to every line along the axis and writes the result back in place of it. */
function alongAxis(call: Call, f: (line: Float64Array) => Float64Array): NdArray {
  const x = input(call, 0)
  const [before, size, after] = around(x.shape, normalAxis(int(call, 'axis', -1), x.shape.length))
  const out = make(x.dtype, x.shape)
  const line = new Float64Array(size)
  for (let i = 0; i < before; i++)
    for (let j = 0; j < after; j++) {
      const start = i * size * after + j
      for (let k = 0; k < size; k++) line[k] = x.data[start + k * after]
      const result = f(line)
      for (let k = 0; k < size; k++) out.data[start + k * after] = result[k]
    }
  return out
}

const cumSum: Operator = (call) => {
  const axis = input(call, 1).data[0]
  const [exclusive, reverse] = [int(call, 'exclusive', 0) === 1, int(call, 'reverse', 0) === 1]
  return alongAxis({ ...call, attributes: { axis } }, (line) => {
    const out = new Float64Array(line.length)
    let total = 0
    for (let n = 0; n < line.length; n++) {
      const k = reverse ? line.length - 1 - n : n
      out[k] = exclusive ? total : total + line[k]
      total += line[k]
    }
    return out
  })
}

/** Operators that turn every line along one axis into another. */
export const alongAxisOperators: Record<string, Operator> = {
  Softmax: (call) => alongAxis(call, (line) => softmaxOf(line, logSumExp(line))),
  LogSoftmax: (call) => alongAxis(call, (line) => shifted(line, logSumExp(line))),
  Hardmax: (call) => alongAxis(call, (line) => oneHot(line)),
  CumSum: cumSum,
  LpNormalization: (call) =>
    alongAxis(call, (line) => {
      const p = int(call, 'p', 2)
      const norm = p === 1 ? line.reduce((a, b) => a + Math.abs(b), 0) : Math.sqrt(line.reduce((a, b) => a + b * b, 0))
      return line.map((v) => (norm === 0 ? 0 : v / norm))
    }),
}
