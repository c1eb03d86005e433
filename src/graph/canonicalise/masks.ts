import { sameShape } from '../dim.js'
import type { Value } from '../ir.js'
import { madeBy } from './match.js'
import type { Rule } from './rule.js'
import { uniformValue } from './uniform.js'

/** Where under a condition that is the same everywhere → the branch it takes. */
export const uniformWhere: Rule = ({ node, inputs, b, keepParameters }) => {
  if (node.op !== 'Where') return undefined
  const condition = uniformValue(inputs[0], keepParameters)
  const branch = condition === undefined ? undefined : inputs[condition !== 0 ? 1 : 2]
  return branch && [b.expand(branch, node.outputs[0].shape)]
}

/**
 * Where(IsNaN(p), …, p) with p = Softmax(s) → p, where s cannot hold a row of −∞: nothing but finite constants was added to it.
 * (PyTorch guards against masks that hide a whole row.)
 */
export const softmaxGuard: Rule = ({ node, inputs }) => {
  if (node.op !== 'Where') return undefined
  const [condition, , probabilities] = inputs
  const test = madeBy(condition, 'IsNaN')
  if (probabilities === undefined || test?.inputs[0] !== probabilities) return undefined
  const softmax = madeBy(probabilities, 'Softmax')
  if (!sameShape(probabilities.shape, node.outputs[0].shape)) return undefined
  return softmax !== undefined && staysFinite(softmax.inputs[0], 6) ? [probabilities] : undefined
}

/** True where `value` is a product of activations, or sums, multiples and views of one with finite constants. */
function staysFinite(value: Value | undefined, depth: number): boolean {
  if (value === undefined || depth === 0) return false
  if (value.constant !== undefined) return (value.constant.data as Float32Array).every(Number.isFinite)
  const node = value.producer
  if (node === undefined) return false
  switch (node.op) {
    case 'MatMul':
    case 'Gemm':
      return true
    case 'Reshape':
    case 'Expand':
    case 'Transpose':
      return staysFinite(node.inputs[0], depth - 1)
    case 'Add':
    case 'Mul':
    case 'Div':
    case 'Where':
      return node.inputs.every((input) => input?.dtype === 'bool' || staysFinite(input, depth - 1))
    default:
      return false
  }
}
