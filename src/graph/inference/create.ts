import { type DType, numbersOf, type Tensor, tensorFromNumbers } from '../../tensor/index.js'
import { addDims, batchDim, type Dim, divideDims, isBatch, showDim } from '../dim.js'
import { type Call, type InferenceRules, type Inferred, knownInput, mismatch, required, requireRank } from './call.js'

function constantOfShape(call: Call): Inferred[] {
  const shape = knownInput(call, 0, 'sizes')
  const value = (call.attributes.value as Tensor | undefined) ?? tensorFromNumbers('float32', [1], [0])
  const count = shape.reduce<number>((n, dim) => (isBatch(dim) ? Number.NaN : n * dim), 1)
  const fill = numbersOf(value)[0]
  return [{ dtype: value.dtype, shape, known: count <= 1024 ? Array.from({ length: count }, () => fill) : undefined }]
}

function range(call: Call): Inferred[] {
  const dtype = required(call, 0).dtype
  const [[start], [limit], [delta]] = [0, 1, 2].map((i) => knownInput(call, i, 'bounds'))
  if (!isBatch(start) && !isBatch(limit) && !isBatch(delta)) {
    const count = Math.max(0, Math.ceil((limit - start) / delta))
    const known = count <= 1024 ? Array.from({ length: count }, (_, i) => start + i * delta) : undefined
    return [{ dtype, shape: [count], known }]
  }
  const length = addDims(limit, isBatch(start) ? batchDim(-start.factor) : -start)
  const count: Dim | undefined = length === undefined ? undefined : divideDims(length, delta)
  if (count === undefined)
    throw mismatch(
      call,
      'the number of elements is no multiple of the batch size',
      'one that is',
      `${showDim(start)} to ${showDim(limit)} by ${showDim(delta)}`,
    )
  return [{ dtype, shape: [count] }]
}

function eyeLike(call: Call): Inferred[] {
  const x = required(call, 0)
  requireRank(call, x, 2, 2)
  return [{ dtype: (call.attributes.dtype as DType | undefined) ?? x.dtype, shape: x.shape }]
}

/** A triangle of a matrix, or running sums: the shape stays. */
function like(call: Call): Inferred[] {
  const x = required(call, 0)
  return [{ dtype: x.dtype, shape: x.shape }]
}

/** New content of a given shape. */
export const createRules: InferenceRules = {
  ConstantOfShape: constantOfShape,
  Range: range,
  EyeLike: eyeLike,
  Trilu: like,
  CumSum: like,
}
