import { type Dim, isBatch, multiplyDims } from '../dim.js'
import { intAttribute, type Value } from '../ir.js'
import { axesInput, axisOf, type Call, type InferenceRules, type Inferred, required } from './call.js'

function reducedShape(value: Value, axes: readonly number[], keepdims: boolean): Dim[] {
  return value.shape.flatMap((dim, axis): Dim[] => (!axes.includes(axis) ? [dim] : keepdims ? [1] : []))
}

function reduce(call: Call): Inferred[] {
  const value = required(call, 0)
  const rank = value.shape.length
  let axes = axesInput(call, 1, rank) ?? []
  if (axes.length === 0 && intAttribute(call.attributes, 'noop_with_empty_axes', 0) === 0)
    axes = value.shape.map((_, axis) => axis)
  const shape = reducedShape(value, axes, intAttribute(call.attributes, 'keepdims', 1) !== 0)
  return [{ dtype: value.dtype, shape, known: reducedKnown(call, value, axes) }]
}

/** The number of elements of a shape is computed by ReduceProd over all of a vector. */
function reducedKnown(call: Call, value: Value, axes: readonly number[]): readonly Dim[] | undefined {
  if (call.op !== 'ReduceProd' || value.known === undefined || value.shape.length !== 1 || axes.length !== 1)
    return undefined
  if (!value.known.some(isBatch)) return [value.known.reduce<number>((product, dim) => product * (dim as number), 1)]
  const product = value.known.reduce<Dim | undefined>((p, dim) => (p === undefined ? p : multiplyDims(p, dim)), 1)
  return product === undefined ? undefined : [product]
}

function argument(call: Call): Inferred[] {
  const value = required(call, 0)
  const axis = axisOf(call, intAttribute(call.attributes, 'axis', 0), value.shape.length)
  return [{ dtype: 'int64', shape: reducedShape(value, [axis], intAttribute(call.attributes, 'keepdims', 1) !== 0) }]
}

const names = ['Sum', 'Mean', 'Max', 'Min', 'Prod', 'L1', 'L2', 'SumSquare', 'LogSum', 'LogSumExp']

/** Reductions over axes. */
export const reduceRules: InferenceRules = {
  ...Object.fromEntries(names.map((name) => [`Reduce${name}`, reduce])),
  ArgMax: argument,
  ArgMin: argument,
}
