import type { DType } from '../tensor/index.js'
import { broadcastShape, broadcastTo, type Call, input, make, type Operator, wrap } from './array.js'
import type { NdArray } from './nd-array.js'

/** One input, element by element. */
export const unary =
  (f: (x: number, call: Call) => number, dtype?: DType): Operator =>
  (call) => {
    const x = input(call, 0)
    const type = dtype ?? x.dtype
    return make(
      type,
      x.shape,
      wrap(
        type,
        x.data.map((v) => f(v, call)),
      ),
    )
  }

/** Two inputs that broadcast; the result has the type of the first unless `dtype` says otherwise. */
export const binary =
  (f: (a: number, b: number, dtype: DType, call: Call) => number, dtype?: DType): Operator =>
  (call) =>
    combine(input(call, 0), input(call, 1), (a, b, type) => f(a, b, type, call), dtype)

function combine(a: NdArray, b: NdArray, f: (a: number, b: number, dtype: DType) => number, dtype?: DType): NdArray {
  const shape = broadcastShape([a.shape, b.shape])
  const [x, y] = [broadcastTo(a, shape), broadcastTo(b, shape)]
  const type = dtype ?? a.dtype
  const data = new Float64Array(x.length)
  for (let i = 0; i < data.length; i++) data[i] = f(x[i], y[i], a.dtype)
  return make(type, shape, wrap(type, data))
}

/** Any number of inputs, taken in pairs; `finish` sees the result and how many they were. */
export const variadic =
  (f: (a: number, b: number) => number, finish = (value: number, _count: number): number => value): Operator =>
  (call) => {
    const all = call.inputs.map((_, i) => input(call, i))
    const { dtype, shape, data } = all.slice(1).reduce((a, b) => combine(a, b, (x, y) => f(x, y)), input(call, 0))
    return make(
      dtype,
      shape,
      data.map((v) => finish(v, all.length)),
    )
  }
