import { type DType, numbersOf, type Tensor } from '../tensor/index.js'
import { input, int, make, type Operator, text } from './array.js'
import { sizeOf } from './strides.js'

const constantOfShape: Operator = (call) => {
  const shape = Array.from(input(call, 0).data)
  const value = call.attributes.value as Tensor | undefined
  return make(value?.dtype ?? 'float32', shape, new Float64Array(sizeOf(shape)).fill(value ? numbersOf(value)[0] : 0))
}

const range: Operator = (call) => {
  const [start, limit, delta] = [0, 1, 2].map((i) => input(call, i).data[0])
  const count = Math.max(0, Math.ceil((limit - start) / delta))
  return make(
    input(call, 0).dtype,
    [count],
    Float64Array.from({ length: count }, (_, i) => start + i * delta),
  )
}

const trilu: Operator = (call) => {
  const x = input(call, 0)
  const k = call.inputs[1]?.data[0] ?? 0
  const upper = int(call, 'upper', 1) === 1
  const [rows, columns] = x.shape.slice(-2)
  return make(
    x.dtype,
    x.shape,
    x.data.map((v, i) => {
      const distance = (i % columns) - (Math.floor(i / columns) % rows)
      return (upper ? distance >= k : distance <= k) ? v : 0
    }),
  )
}

const eyeLike: Operator = (call) => {
  const { shape, dtype } = input(call, 0)
  const k = int(call, 'k', 0)
  return make(
    text(call, 'dtype', dtype) as DType,
    shape,
    Float64Array.from({ length: sizeOf(shape) }, (_, i) => Number((i % shape[1]) - Math.floor(i / shape[1]) === k)),
  )
}

/** New content of a given shape, or a triangle of a matrix. */
export const generate: Record<string, Operator> = {
  ConstantOfShape: constantOfShape,
  Range: range,
  Trilu: trilu,
  EyeLike: eyeLike,
}
