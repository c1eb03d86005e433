import type { Dim } from '../dim.js'
import { intsAttribute } from '../ir.js'
import { type Call, type InferenceRules, type Inferred, mismatch, numbersOnly, required, requireRank } from './call.js'
import { slidingWindow } from './window.js'

function pooledShape(call: Call): readonly Dim[] {
  const x = required(call, 0)
  requireRank(call, x, 3)
  const [batch, channels, ...spatial] = x.shape
  const kernel = intsAttribute(call.attributes, 'kernel_shape')
  if (kernel?.length !== spatial.length)
    throw mismatch(call, 'wrong kernel_shape', `${spatial.length} sizes`, `[${kernel ?? ''}]`)
  const { output } = slidingWindow(call.op, call.attributes, numbersOnly(call, spatial, 'spatial sizes'), kernel)
  return [batch, channels, ...output]
}

function pool(call: Call): Inferred[] {
  return [{ dtype: required(call, 0).dtype, shape: pooledShape(call) }]
}

/** The second output counts where each maximum was found, in the whole flattened input. */
function maxPool(call: Call): Inferred[] {
  const shape = pooledShape(call)
  const outputs: Inferred[] = [
    { dtype: required(call, 0).dtype, shape },
    { dtype: 'int64', shape },
  ]
  return outputs.slice(0, call.outputs)
}

function globalPool(call: Call): Inferred[] {
  const x = required(call, 0)
  requireRank(call, x, 2)
  return [{ dtype: x.dtype, shape: x.shape.map((dim, axis) => (axis < 2 ? dim : 1)) }]
}

/** Pools over windows and over everything. */
export const poolRules: InferenceRules = {
  MaxPool: maxPool,
  AveragePool: pool,
  LpPool: pool,
  GlobalAveragePool: globalPool,
  GlobalMaxPool: globalPool,
  GlobalLpPool: globalPool,
}
