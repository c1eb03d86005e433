import { evaluate } from '../../interpreter/index.js'
import { numbersOf, type Tensor, tensorFromNumbers } from '../../tensor/index.js'
import { type Dim, sameDim } from '../dim.js'
import type { Value } from '../ir.js'
import { eitherWay, madeBy } from './match.js'
import type { Rule, Site } from './rule.js'

/** Elements of a sum worth holding: the bias and mask of a window attention of 64 windows and 4 heads. */
const LIMIT = 1 << 20

/**
 * (x + a) + b → x + (a + b) for constants, also with a reshape of the leading axes between: Swin adds a bias for each head, then a
 * mask for each window to the same scores, the largest array of the block.
 */
export const constantSums: Rule = ({ node, inputs, b, keepParameters }) => {
  if (node.op !== 'Add') return undefined
  for (const [y, second] of eitherWay(inputs)) {
    const reshape = madeBy(y, 'Reshape')
    const sum = madeBy(reshape?.inputs[0] ?? y, 'Add')
    if (sum === undefined || !isFixed(second, keepParameters)) continue
    for (const [x, first] of eitherWay(sum.inputs)) {
      if (x.constant !== undefined || !isFixed(first, keepParameters)) continue
      if (x.shape.length !== sum.outputs[0].shape.length) continue
      const addend = reshape === undefined ? first.constant : throughReshape(first.constant, sum.outputs[0], y)
      if (addend === undefined) continue
      const total = addConstants(addend, second.constant)
      if (total !== undefined) return [b.add(b.reshape(x, y.shape), b.constant(total, 'bias'))]
    }
  }
  return undefined
}

const isFixed = (value: Value, keep: Site['keepParameters']): value is Value & { constant: Tensor } =>
  value.constant !== undefined && !(value.parameter && keep)

/** The constant as it is added behind a reshape of `from` to `to` that leaves the axes alone along which it varies. */
function throughReshape(constant: Tensor, from: Value, to: Value): Tensor | undefined {
  const lead = constant.shape.findIndex((size) => size !== 1)
  const varying = lead < 0 ? [] : constant.shape.slice(lead)
  const kept = (shape: readonly Dim[]) => shape.slice(shape.length - varying.length)
  const [before, after] = [kept(from.shape), kept(to.shape)]
  if (after.length < varying.length || !before.every((dim, i) => sameDim(dim, after[i]))) return undefined
  return { ...constant, shape: varying }
}

function addConstants(a: Tensor, b: Tensor): Tensor | undefined {
  const rank = Math.max(a.shape.length, b.shape.length)
  const size = Array.from({ length: rank }, (_, i) => Math.max(a.shape.at(i - rank) ?? 1, b.shape.at(i - rank) ?? 1))
  if (size.reduce((product, n) => product * n, 1) > LIMIT) return undefined
  const arrays = [a, b].map((tensor) => ({ dtype: tensor.dtype, shape: tensor.shape, data: numbersOf(tensor) }))
  const [sum] = evaluate('Add', {}, arrays, 1)
  return tensorFromNumbers(a.dtype, sum.shape, sum.data)
}
