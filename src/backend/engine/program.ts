import type { LossName } from '../../autodiff/index.js'
import type { Dim } from '../../graph/index.js'
import type { Tensor } from '../../tensor/index.js'

/**
 * The kernel program in TypeScript: what native/core/program/program.h describes. Dimensions that depend on the batch are symbolic; element
 * type `value` is the precision chosen when the program is loaded.
 */
export type ElementType = 'value' | 'float32' | 'int32'

export class PlanBuffer {
  readonly type: ElementType
  readonly elements: Dim
  /** Undefined for activations. */
  readonly constant: StoredConstant | undefined

  constructor(type: ElementType, elements: Dim, constant?: StoredConstant) {
    this.type = type
    this.elements = elements
    this.constant = constant
  }
}

export interface StoredConstant {
  readonly tensor: Tensor
  /** [rows, columns] of the tensor, if it is stored as [columns, rows]. */
  readonly transposed?: readonly [number, number]
  /** [rows, columns] of the tensor, if the sums of its rows are stored: of the elements as the precision rounds them. */
  readonly rowSums?: readonly [number, number]
}

export const opCodes = {
  gemm: 1,
  layer_norm: 2,
  layer_norm_backward: 3,
  attention: 4,
  attention_backward: 5,
  elementwise: 6,
  reduce: 7,
  copy: 8,
  softmax: 9,
  softmax_backward: 10,
  batched_matmul: 11,
  gather: 12,
  scatter_add: 13,
  fill: 14,
  loss: 15,
  convolution: 16,
  max_pool: 17,
  max_pool_backward: 18,
  average_pool: 19,
  average_pool_backward: 20,
  row_statistics: 21,
} as const
export type OpName = keyof typeof opCodes

/** One kernel launch; the fields are those that program.h lists for the operation. */
export interface Step {
  readonly op: OpName
  /** The node of the model it comes from. */
  readonly name: string
  readonly buffers: readonly (PlanBuffer | undefined)[]
  readonly ints: readonly Dim[]
  readonly floats: readonly number[]
}

export const lossCodes: Readonly<Record<LossName, number>> = { 'cross-entropy': 0, margin: 1, dlr: 2, kl: 3 }

export const layouts = { planes: 0, patches: 1 } as const

export interface KernelProgram {
  readonly image: readonly [channels: number, height: number, width: number]
  readonly classes: number
  readonly layout: keyof typeof layouts
  /** Side of a patch; 0 for planes. */
  readonly patch: number
  readonly loss: LossName
  readonly targeted: boolean
  readonly input: PlanBuffer
  readonly logits: PlanBuffer
  readonly imageGradient: PlanBuffer
  readonly forward: readonly Step[]
  readonly gradient: readonly Step[]
}

/** Codes of kernels.h. */
export const epilogues = {
  store: 0,
  gelu_erf: 1,
  gelu_tanh: 2,
  gelu_erf_backward: 3,
  gelu_tanh_backward: 4,
  quick_gelu: 5,
  quick_gelu_backward: 6,
  silu: 7,
  silu_backward: 8,
  relu: 9,
  relu_backward: 10,
  store_float: 11,
  norm_backward: 13,
  swiglu: 14,
  swiglu_backward: 15,
} as const
export type Epilogue = keyof typeof epilogues

export const functions = {
  identity: 0,
  negate: 1,
  absolute: 2,
  exponential: 3,
  logarithm: 4,
  square_root: 5,
  reciprocal: 6,
  sigmoid: 7,
  hyperbolic_tangent: 8,
  error_function: 9,
  gelu_erf: 10,
  gelu_tanh: 11,
  quick_gelu: 12,
  silu: 13,
  relu: 14,
  sign: 15,
  softplus: 16,
  sine: 17,
  cosine: 18,
  floor: 19,
  ceiling: 20,
  round_even: 21,
  scale_shift: 22,
  clip: 23,
  leaky_relu: 24,
  elu: 25,
  hard_sigmoid: 26,
  reciprocal_square_root: 27,
  add: 40,
  subtract: 41,
  multiply: 42,
  divide: 43,
  power: 44,
  minimum: 45,
  maximum: 46,
  greater: 47,
  greater_or_equal: 48,
  less: 49,
  less_or_equal: 50,
  equal: 51,
  gelu_erf_backward: 60,
  gelu_tanh_backward: 61,
  quick_gelu_backward: 62,
  silu_backward: 63,
  relu_backward: 64,
  select: 80,
  multiply_add: 81,
} as const
export type FunctionName = keyof typeof functions

export const reductions = {
  sum: 0,
  mean: 1,
  maximum: 2,
  minimum: 3,
  sum_squares: 4,
  sum_magnitudes: 5,
  product: 6,
} as const
export type ReductionName = keyof typeof reductions
