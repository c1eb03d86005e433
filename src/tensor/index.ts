export { bfloat16ToFloat, float16ToFloat, floatToBfloat16, floatToFloat16 } from './half.js'
export { takeRows } from './take-rows.js'
export type { DType, Tensor, TypedArray } from './tensor.js'
export {
  elementCount,
  float32Tensor,
  int64Tensor,
  isFloat,
  isInteger,
  newTypedArray,
  numbersOf,
  tensorFromNumbers,
} from './tensor.js'
