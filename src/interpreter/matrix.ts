import { ModelError } from '../errors/index.js'
import {
  broadcastOffsets,
  broadcastShape,
  broadcastTo,
  type Call,
  input,
  int,
  make,
  type Operator,
  transpose,
} from './array.js'
import type { NdArray } from './nd-array.js'
import { multiplyInto } from './product.js'
import { sizeOf, stridesOf } from './strides.js'

export function matMul(a: NdArray, b: NdArray): NdArray {
  const left = a.shape.length === 1 ? [1, a.shape[0]] : a.shape
  const right = b.shape.length === 1 ? [b.shape[0], 1] : b.shape
  const [m, k] = left.slice(-2)
  const [k2, n] = right.slice(-2)
  if (k !== k2)
    throw new ModelError('SHAPE_MISMATCH', 'inner sizes differ', {
      subject: 'MatMul',
      expected: `${k} rows on the right`,
      found: `${k2}`,
    })
  const batch = broadcastShape([left.slice(0, -2), right.slice(0, -2)])
  const [pa, pb] = [broadcastOffsets(batch, left.slice(0, -2)), broadcastOffsets(batch, right.slice(0, -2))]
  const data = new Float64Array(pa.length * m * n)
  for (let i = 0; i < pa.length; i++)
    multiplyInto(data, i * m * n, a.data, pa[i] * m * k, b.data, pb[i] * k * n, m, k, n)
  const shape = [...batch, ...(a.shape.length === 1 ? [] : [m]), ...(b.shape.length === 1 ? [] : [n])]
  return make(a.dtype, shape, data)
}

const gemm: Operator = (call) => {
  const a = int(call, 'transA', 0) ? transpose(input(call, 0), [1, 0]) : input(call, 0)
  const b = int(call, 'transB', 0) ? transpose(input(call, 1), [1, 0]) : input(call, 1)
  const out = matMul(a, b)
  const [alpha, beta] = [int(call, 'alpha', 1), int(call, 'beta', 1)]
  const c = call.inputs[2] && broadcastTo(call.inputs[2], out.shape)
  return make(
    a.dtype,
    out.shape,
    out.data.map((v, i) => alpha * v + (c ? beta * c[i] : 0)),
  )
}

/** Sums over every letter that the output lacks, by plain enumeration of all index values. */
const einsum: Operator = (call) => {
  const arrays = call.inputs.filter((array) => array !== undefined)
  let [terms, result] = String(call.attributes.equation).replaceAll(' ', '').split('->') as [string, string | undefined]
  const dots = Math.max(
    0,
    ...terms.split(',').map((term, i) => arrays[i].shape.length - term.replace('...', '').length),
  )
  const spread = '0123456789'.slice(0, dots)
  const parts = terms
    .split(',')
    .map((term, i) =>
      term.replace('...', spread.slice(dots - (arrays[i].shape.length - term.replace('...', '').length))),
    )
  terms = parts.join(',')
  if (result === undefined) {
    const letters = [...terms.replaceAll(',', '')].sort()
    result = letters.filter((letter) => letters.indexOf(letter) === letters.lastIndexOf(letter)).join('')
  } else result = result.replace('...', spread)
  const sizes = new Map<string, number>()
  for (const [i, part] of parts.entries())
    for (const [axis, letter] of [...part].entries())
      sizes.set(letter, Math.max(sizes.get(letter) ?? 1, arrays[i].shape[axis]))
  const summed = [...sizes.keys()].filter((letter) => !result.includes(letter))
  const order = [...result, ...summed]
  const full = order.map((letter) => sizes.get(letter) ?? 1)
  const inner = sizeOf(summed.map((letter) => sizes.get(letter) ?? 1))
  const steps = parts.map((part, i) => {
    const strides = stridesOf(arrays[i].shape)
    return order.map((letter) =>
      [...part].reduce((step, l, axis) => step + (l === letter && arrays[i].shape[axis] !== 1 ? strides[axis] : 0), 0),
    )
  })
  const out = make(
    arrays[0].dtype,
    [...result].map((letter) => sizes.get(letter) ?? 1),
  )
  const index = new Array<number>(order.length).fill(0)
  const at = steps.map(() => 0)
  for (let i = 0; i < out.data.length * inner; i++) {
    let product = 1
    for (const [t, array] of arrays.entries()) product *= array.data[at[t]]
    out.data[Math.floor(i / inner)] += product
    for (let axis = order.length - 1; axis >= 0; axis--) {
      for (const [t, step] of steps.entries()) at[t] += step[axis]
      if (++index[axis] < full[axis]) break
      for (const [t, step] of steps.entries()) at[t] -= step[axis] * full[axis]
      index[axis] = 0
    }
  }
  return out
}

export const matrix: Record<string, Operator> = {
  MatMul: (call: Call) => matMul(input(call, 0), input(call, 1)),
  Gemm: gemm,
  Einsum: einsum,
}
