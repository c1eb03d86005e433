import { float32Tensor, numbersOf } from '../../tensor/index.js'
import { intAttribute, intsAttribute, type Value } from '../ir.js'
import type { Rule } from './rule.js'
import { isProductOfRows, scaledProduct } from './scaled-product.js'

/**
 * Scale and bias of a LayerNormalization go into the weights of the products that read it: (x̂·γ + β)·W = x̂·(γ⊙W) + β·W. The
 * normalisation then yields x̂ itself, which is what its backward needs: three passes over the activations less.
 */
export const foldedNormalisation: Rule = ({ node, inputs, b, users, keepParameters }) => {
  if (keepParameters || !isProductOfRows(node)) return undefined
  const [x, weight, bias] = inputs
  const norm = x?.producer
  const old = node.inputs[0]
  if (norm?.op !== 'LayerNormalization' || old === undefined || weight?.constant === undefined) return undefined
  const [source, scale, shift] = norm.inputs
  const width = scale?.shape[0]
  if (source === undefined || scale?.constant === undefined || scale.shape.length !== 1 || typeof width !== 'number')
    return undefined
  const axis = intAttribute(norm.attributes, 'axis', -1)
  if (axis !== -1 && axis !== source.shape.length - 1) return undefined
  if (shift !== undefined && shift.constant === undefined) return undefined
  if (isPlain(scale, shift) || !users(old).every((user) => isProductOfRows(user) && user.inputs[0] === old))
    return undefined
  const ones = b.constant(float32Tensor([width], new Float32Array(width).fill(1)), 'ones')
  const normalised = b.emit('LayerNormalization', [source, ones], norm.attributes)
  const beta = shift?.constant?.data as Float32Array | undefined
  return [scaledProduct(b, node, normalised, weight, bias, scale.constant.data as Float32Array, beta)]
}

/**
 * BatchNormalization with fixed statistics in front of a product over its channels → the product with other weights; a transpose that
 * brings the channels to the end may stand between.
 */
export const foldedBatchNormalisation: Rule = ({ node, inputs, b, keepParameters }) => {
  if (keepParameters || !isProductOfRows(node)) return undefined
  const [x, weight, bias] = inputs
  if (x === undefined || weight?.constant === undefined) return undefined
  const last = x.shape.length - 1
  const swap = x.producer?.op === 'Transpose' ? x.producer : undefined
  const perm = swap && intsAttribute(swap.attributes, 'perm')
  const norm = (swap === undefined ? x : swap.inputs[0])?.producer
  if (norm?.op !== 'BatchNormalization' || norm.outputs.length > 1) return undefined
  if ((perm === undefined ? last : perm[last]) !== 1 || intAttribute(norm.attributes, 'training_mode', 0) === 1)
    return undefined
  const [source, ...given] = norm.inputs
  const constants = given.map((value) => value?.constant && numbersOf(value.constant))
  const [scale, shift, mean, variance] = constants
  if (source?.dtype !== 'float32' || !scale || !shift || !mean || !variance) return undefined
  const epsilon = intAttribute(norm.attributes, 'epsilon', 1e-5)
  const factor = scale.map((s, c) => s / Math.sqrt(variance[c] + epsilon))
  const offset = shift.map((s, c) => s - mean[c] * factor[c])
  const rows = perm === undefined ? source : b.transpose(source, perm)
  return [scaledProduct(b, node, rows, weight, bias, factor, offset)]
}

const holdsOnly = (value: Value, number: number): boolean =>
  value.constant !== undefined && (value.constant.data as Float32Array).every((element) => element === number)
const isPlain = (scale: Value, bias: Value | undefined): boolean =>
  holdsOnly(scale, 1) && (bias === undefined || holdsOnly(bias, 0))
