import { bfloat16ToFloat, float16ToFloat, floatToBfloat16, floatToFloat16 } from './half.js'

export type DType =
  | 'float32'
  | 'float64'
  | 'float16'
  | 'bfloat16'
  | 'int8'
  | 'int16'
  | 'int32'
  | 'int64'
  | 'uint8'
  | 'uint16'
  | 'uint32'
  | 'uint64'
  | 'bool'

export type TypedArray =
  | Float32Array
  | Float64Array
  | Int8Array
  | Int16Array
  | Int32Array
  | BigInt64Array
  | Uint8Array
  | Uint16Array
  | Uint32Array
  | BigUint64Array

/** A dense row-major array. float16 and bfloat16 hold their bits in a Uint16Array, bool a byte an element. */
export interface Tensor {
  readonly dtype: DType
  readonly shape: readonly number[]
  readonly data: TypedArray
}

const constructors = {
  float32: Float32Array,
  float64: Float64Array,
  float16: Uint16Array,
  bfloat16: Uint16Array,
  int8: Int8Array,
  int16: Int16Array,
  int32: Int32Array,
  int64: BigInt64Array,
  uint8: Uint8Array,
  uint16: Uint16Array,
  uint32: Uint32Array,
  uint64: BigUint64Array,
  bool: Uint8Array,
} as const

export function newTypedArray(dtype: DType, length: number): TypedArray {
  return new constructors[dtype](length)
}

export const isFloat = (dtype: DType): boolean => dtype.includes('float')
export const isInteger = (dtype: DType): boolean => dtype.includes('int')
export const elementCount = (shape: readonly number[]): number => shape.reduce((a, b) => a * b, 1)

/** The elements as float64 numbers (int64 beyond 2^53 lose their last bits; halves are decoded). Always a fresh array. */
export function numbersOf(tensor: Tensor): Float64Array {
  const { data, dtype } = tensor
  if (dtype === 'float16') return Float64Array.from(data as Uint16Array, float16ToFloat)
  if (dtype === 'bfloat16') return Float64Array.from(data as Uint16Array, bfloat16ToFloat)
  if (data instanceof BigInt64Array || data instanceof BigUint64Array) {
    const out = new Float64Array(data.length)
    for (let i = 0; i < data.length; i++) out[i] = Number(data[i])
    return out
  }
  return Float64Array.from(data)
}

/** Rounds numbers into a tensor of `dtype`; integers saturate at the ends of int64 instead of wrapping. */
export function tensorFromNumbers(dtype: DType, shape: readonly number[], numbers: ArrayLike<number>): Tensor {
  const data = newTypedArray(dtype, numbers.length)
  if (data instanceof BigInt64Array || data instanceof BigUint64Array) {
    const [low, high] = data instanceof BigInt64Array ? [-(2n ** 63n), 2n ** 63n - 1n] : [0n, 2n ** 64n - 1n]
    for (let i = 0; i < numbers.length; i++) {
      const value = BigInt(Math.trunc(numbers[i]))
      data[i] = value < low ? low : value > high ? high : value
    }
  } else if (dtype === 'float16' || dtype === 'bfloat16') {
    const encode = dtype === 'float16' ? floatToFloat16 : floatToBfloat16
    for (let i = 0; i < numbers.length; i++) data[i] = encode(numbers[i])
  } else {
    for (let i = 0; i < numbers.length; i++) data[i] = numbers[i]
  }
  return { dtype, shape: [...shape], data }
}

export function float32Tensor(shape: readonly number[], values: ArrayLike<number>): Tensor {
  return {
    dtype: 'float32',
    shape: [...shape],
    data: values instanceof Float32Array ? values : Float32Array.from(values),
  }
}

export function int64Tensor(values: readonly number[], shape: readonly number[] = [values.length]): Tensor {
  return tensorFromNumbers('int64', shape, values)
}
