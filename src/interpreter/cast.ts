import { ModelError } from '../errors/index.js'
import { type DType, isFloat, isInteger } from '../tensor/index.js'
import { input, make, type Operator, saturate, wrap } from './array.js'
import type { NdArray } from './nd-array.js'

const cast: Operator = (call) => castTo(input(call, 0), dtypeOf(call.attributes.to))

/** Integers wrap into narrower ones; floats are truncated and saturate, NaN becomes 0; floats keep their float64 precision. */
function castTo(x: NdArray, dtype: DType): NdArray {
  const towardsIntegers = isInteger(dtype) && isFloat(x.dtype)
  return make(dtype, x.shape, towardsIntegers ? saturate(dtype, x.data) : wrap(dtype, x.data.slice()))
}

function dtypeOf(to: unknown): DType {
  if (typeof to === 'string') return to as DType
  throw new ModelError('MODEL_INVALID', 'Cast needs a target type', { found: String(to) })
}

const identity: Operator = (call) => make(input(call, 0).dtype, input(call, 0).shape, input(call, 0).data.slice())

/** Inference only: everything is kept. */
const dropout: Operator = (call) => {
  const x = input(call, 0)
  const ratio = call.inputs[1]?.data[0] ?? 0.5
  if (call.inputs[2]?.data[0] && ratio !== 0)
    throw new ModelError('MODEL_UNSUPPORTED', 'it is in training mode', {
      subject: call.op,
      found: `ratio ${ratio}`,
      cure: 'Export the model in evaluation mode.',
    })
  const kept = make('bool', x.shape, new Float64Array(x.data.length).fill(1))
  return [make(x.dtype, x.shape, x.data.slice()), kept].slice(0, call.outputs)
}

export const conversion: Record<string, Operator> = {
  Cast: cast,
  CastLike: (call) => castTo(input(call, 0), input(call, 1).dtype),
  Identity: identity,
  Dropout: dropout,
}
