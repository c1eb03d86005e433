import { sameDim, showDim, showShape } from '../dim.js'
import { intAttribute, type Value } from '../ir.js'
import {
  axisOf,
  broadcast,
  type Call,
  type InferenceRules,
  type Inferred,
  mismatch,
  required,
  requireRank,
} from './call.js'

function like(call: Call): Inferred[] {
  const x = required(call, 0)
  return [{ dtype: x.dtype, shape: x.shape }]
}

function alongAxis(call: Call): Inferred[] {
  const x = required(call, 0)
  axisOf(call, intAttribute(call.attributes, 'axis', -1), x.shape.length)
  return like(call)
}

/** Outputs: the normalised value, and (LayerNormalization) mean and inverse standard deviation. */
function lastAxes(call: Call): Inferred[] {
  const x = required(call, 0)
  const axis = axisOf(call, intAttribute(call.attributes, 'axis', -1), x.shape.length)
  for (const factor of [required(call, 1), call.inputs[2]]) {
    if (factor === undefined) continue
    const common = broadcast(call, [x.shape, factor.shape])
    if (common.length !== x.shape.length || !common.every((dim, i) => sameDim(dim, x.shape[i])))
      throw mismatch(call, `${factor.name} does not broadcast`, showShape(x.shape), showShape(factor.shape))
  }
  const statistics: Inferred = {
    dtype: 'float32',
    shape: x.shape.map((dim, i) => (i < axis ? dim : 1)),
  }
  return [{ dtype: x.dtype, shape: x.shape }, statistics, statistics].slice(0, call.outputs)
}

function requirePerChannel(call: Call, x: Value, from: number, to: number): void {
  requireRank(call, x, 2)
  for (let i = from; i <= to; i++) {
    const factor = required(call, i)
    if (factor.shape.length !== 1 || !sameDim(factor.shape[0], x.shape[1]))
      throw mismatch(call, `${factor.name} does not fit`, `[${showDim(x.shape[1])}]`, showShape(factor.shape))
  }
}

function perChannel(call: Call): Inferred[] {
  requirePerChannel(call, required(call, 0), 1, 2)
  return like(call)
}

/** With training_mode, the running mean and variance follow. */
function batchNormalization(call: Call): Inferred[] {
  const x = required(call, 0)
  requirePerChannel(call, x, 1, 4)
  const running: Inferred = { dtype: required(call, 3).dtype, shape: [x.shape[1]] }
  return [{ dtype: x.dtype, shape: x.shape }, running, running].slice(0, call.outputs)
}

/** Normalisations, which keep the shape. */
export const normaliseRules: InferenceRules = {
  Softmax: alongAxis,
  LogSoftmax: alongAxis,
  Hardmax: alongAxis,
  LpNormalization: alongAxis,
  LayerNormalization: lastAxes,
  RMSNormalization: lastAxes,
  InstanceNormalization: perChannel,
  GroupNormalization: perChannel,
  BatchNormalization: batchNormalization,
  LRN: like,
  MeanVarianceNormalization: like,
}
