import type { DType } from '../tensor/index.js'

/** What the interpreter computes on: float64 numbers whatever `dtype` says; `dtype` decides integer division, casts and saturation. */
export interface NdArray {
  readonly dtype: DType
  readonly shape: readonly number[]
  readonly data: Float64Array
}
