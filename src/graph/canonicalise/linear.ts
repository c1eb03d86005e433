import { isBatch } from '../dim.js'
import { intAttribute } from '../ir.js'
import { eitherWay, madeBy } from './match.js'
import type { Rule } from './rule.js'

/** A product of a matrix with a constant one, plus a constant vector → Gemm. Products of more axes stay MatMul and Add. */
export const linear: Rule = ({ node, inputs, b }) => {
  if (node.op !== 'Add') return undefined
  for (const [y, bias] of eitherWay(inputs)) {
    const product = madeBy(y, 'MatMul')
    const [x, weight] = product?.inputs ?? []
    if (x === undefined || weight === undefined || weight.constant === undefined || bias.constant === undefined)
      continue
    if (x.shape.length !== 2 || weight.shape.length !== 2 || bias.shape.length !== 1) continue
    if (bias.shape[0] !== weight.shape[1]) continue
    return [b.emit('Gemm', [x, weight, bias])]
  }
  return undefined
}

/** Gemm without a bias, plus a constant vector → Gemm with it. */
export const gemmBias: Rule = ({ node, inputs, b }) => {
  if (node.op !== 'Add') return undefined
  for (const [y, bias] of eitherWay(inputs)) {
    const product = madeBy(y, 'Gemm')
    if (product === undefined || product.inputs[2] !== undefined || bias.constant === undefined) continue
    const { beta: _, ...attributes } = product.attributes
    const columns = y.shape[1]
    if (bias.shape.length !== 1 || isBatch(columns) || bias.shape[0] !== columns) continue
    if (intAttribute(attributes, 'transA', 0) === 1) continue
    return [b.emit('Gemm', [product.inputs[0], product.inputs[1], bias], attributes)]
  }
  return undefined
}
