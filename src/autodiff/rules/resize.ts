import { intsAttribute } from '../../graph/index.js'
import { evaluate, type NdArray } from '../../interpreter/index.js'
import { float32Tensor } from '../../tensor/index.js'
import type { VjpContext, VjpRule } from '../rule.js'
import { constantInput, normalAxis, numberDim, outputGradient, range, required, type VjpRules } from './shared.js'

/**
 * Resize is linear in its input and separable: along each axis it is a product with a constant matrix, which is found by resizing the
 * identity. Its gradient is the product with the transposed matrices.
 */
const resize: VjpRule = (c) => {
  const { b } = c
  const x = required(c, 0)
  let g = outputGradient(c)
  for (const axis of range(0, x.shape.length)) {
    if (x.shape[axis] === g.shape[axis] || typeof x.shape[axis] === 'object') continue
    const size = numberDim(c, x.shape[axis], 'a resized axis')
    const matrix = b.constant(responses(c, axis, size, numberDim(c, g.shape[axis], 'a resized axis')))
    const last = x.shape.length - 1
    if (axis === last) g = b.matMul(g, b.matrixTranspose(matrix))
    else if (axis === last - 1) g = b.matMul(matrix, g)
    else {
      const perm = range(0, x.shape.length).map((i) => (i === axis ? last : i === last ? axis : i))
      g = b.transpose(b.matMul(b.transpose(g, perm), b.matrixTranspose(matrix)), perm)
    }
  }
  return [g, ...c.inputs.slice(1).map(() => undefined)]
}

/** [size, output]: row i is what a unit impulse at i becomes. */
function responses(c: VjpContext, axis: number, size: number, output: number): ReturnType<typeof float32Tensor> {
  const { axes: _, ...attributes } = c.node.attributes
  const listed = intsAttribute(c.node.attributes, 'axes')?.map((a) => normalAxis(a, c.outputs[0].shape.length))
  const position = listed === undefined ? axis : listed.indexOf(axis)
  const pick = (i: number): number | undefined => constantInput(c, i)?.[position]
  const array = (values: readonly number[], shape: readonly number[] = [values.length]): NdArray => ({
    dtype: 'float32',
    shape,
    data: Float64Array.from(values),
  })
  const identity = array(
    range(0, size * size).map((i) => Number(i % (size + 1) === 0)),
    [size, size],
  )
  const scale = pick(2)
  const roi =
    c.inputs[1] && constantInput(c, 1)?.length
      ? array([pick(1) ?? 0, constantInput(c, 1)?.[position + (constantInput(c, 1)?.length ?? 0) / 2] ?? 1])
      : undefined
  // The extrapolated constant has no gradient: impulses must answer with zero outside.
  const resized = evaluate(
    'Resize',
    { ...attributes, axes: [1], extrapolation_value: 0 },
    [
      identity,
      roi,
      scale === undefined ? undefined : array([scale]),
      scale === undefined ? array([output]) : undefined,
    ],
    1,
  )
  return float32Tensor([size, output], resized[0].data)
}

export const resizeRules: VjpRules = { Resize: resize }
