import { ModelError } from '../../errors/index.js'
import { type Dim, sameDim, showDim, showShape } from '../dim.js'
import { intAttribute } from '../ir.js'
import { broadcast, type Call, type InferenceRules, type Inferred, mismatch, required, requireRank } from './call.js'
import { einsumEquation } from './einsum-equation.js'

function matMul(call: Call): Inferred[] {
  const [a, b] = [required(call, 0), required(call, 1)]
  requireRank(call, a, 1)
  requireRank(call, b, 1)
  // A vector is a row on the left, a column on the right; the axis added for it is dropped again.
  const left = a.shape.length === 1 ? [1, ...a.shape] : a.shape
  const right = b.shape.length === 1 ? [...b.shape, 1] : b.shape
  const [inner, outer] = [left[left.length - 1], right[right.length - 2]]
  if (!sameDim(inner, outer))
    throw mismatch(
      call,
      'inner sizes differ',
      `${showDim(inner)} rows on the right`,
      `${showShape(a.shape)} and ${showShape(b.shape)}`,
    )
  const shape = broadcast(call, [left.slice(0, -2), right.slice(0, -2)])
  if (a.shape.length > 1) shape.push(left[left.length - 2])
  if (b.shape.length > 1) shape.push(right[right.length - 1])
  return [{ dtype: a.dtype, shape }]
}

function gemm(call: Call): Inferred[] {
  const [a, b] = [required(call, 0), required(call, 1)]
  requireRank(call, a, 2, 2)
  requireRank(call, b, 2, 2)
  const [rows, inner] = intAttribute(call.attributes, 'transA', 0) ? [...a.shape].reverse() : a.shape
  const [outer, columns] = intAttribute(call.attributes, 'transB', 0) ? [...b.shape].reverse() : b.shape
  if (!sameDim(inner, outer))
    throw mismatch(
      call,
      'inner sizes differ',
      `${showDim(inner)} rows on the right`,
      `${showShape(a.shape)} and ${showShape(b.shape)}`,
    )
  const bias = call.inputs[2]
  const shape = [rows, columns]
  if (bias !== undefined) {
    const common = broadcast(call, [shape, bias.shape])
    if (common.length !== 2 || !common.every((dim, i) => sameDim(dim, shape[i])))
      throw mismatch(call, 'the bias does not broadcast', showShape(shape), showShape(bias.shape))
  }
  return [{ dtype: a.dtype, shape }]
}

function einsum(call: Call): Inferred[] {
  const equation = String(call.attributes.equation ?? '')
  const ranks = call.inputs.map((input) => input?.shape.length ?? 0)
  const { terms, result } = einsumEquation(equation, ranks)
  if (terms.length !== call.inputs.length || result.includes('.'))
    throw new ModelError('OPERATOR_UNSUPPORTED', 'cannot read the equation', { subject: 'Einsum', found: equation })
  const sizes = new Map<string, Dim>()
  terms.forEach((term, i) => {
    const value = required(call, i)
    requireRank(call, value, term.length, term.length)
    value.shape.forEach((dim, axis) => {
      const before = sizes.get(term[axis]) ?? 1
      if (before !== 1 && dim !== 1 && !sameDim(before, dim))
        throw mismatch(call, `sizes of ${term[axis]} differ in ${equation}`, showDim(before), showDim(dim))
      sizes.set(term[axis], before === 1 ? dim : before)
    })
  })
  const shape = [...result].map((letter) => {
    const dim = sizes.get(letter)
    if (dim === undefined) throw mismatch(call, `unknown index in ${equation}`, [...sizes.keys()].join(), letter)
    return dim
  })
  return [{ dtype: required(call, 0).dtype, shape }]
}

/** Products of matrices. */
export const matrixRules: InferenceRules = { MatMul: matMul, Gemm: gemm, Einsum: einsum }
