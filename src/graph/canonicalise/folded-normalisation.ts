import { float32Tensor } from '../../tensor/index.js'
import { intAttribute, type Node, type Value } from '../ir.js'
import type { Rule } from './rule.js'

/**
 * Scale and bias of a LayerNormalization go into the weights of the products that read it: (x̂·γ + β)·W = x̂·(γ⊙W) + β·W. The
 * normalisation then yields x̂ itself, which is what its backward needs: three passes over the activations less.
 */
export const foldedNormalisation: Rule = ({ node, inputs, b, users, keepParameters }) => {
  if (keepParameters || node.op !== 'MatMul') return undefined
  const [x, weight] = inputs
  const norm = x?.producer
  const old = node.inputs[0]
  if (norm?.op !== 'LayerNormalization' || old === undefined || !isMatrix(weight)) return undefined
  const [source, scale, bias] = norm.inputs
  const width = scale?.shape[0]
  if (source === undefined || scale?.constant === undefined || scale.shape.length !== 1 || typeof width !== 'number')
    return undefined
  const axis = intAttribute(norm.attributes, 'axis', -1)
  if (axis !== -1 && axis !== source.shape.length - 1) return undefined
  if (bias !== undefined && bias.constant === undefined) return undefined
  if (isPlain(scale, bias) || !users(old).every((user) => readsAsProduct(user, old))) return undefined
  const gamma = scale.constant.data as Float32Array
  const beta = bias?.constant?.data as Float32Array | undefined
  const [rows, columns] = weight.shape as number[]
  const w = weight.constant?.data as Float32Array
  const scaled = new Float32Array(w.length)
  const offset = new Float64Array(columns)
  for (let k = 0; k < rows; k++)
    for (let j = 0; j < columns; j++) {
      const value = w[k * columns + j]
      scaled[k * columns + j] = gamma[k] * value
      if (beta !== undefined) offset[j] += beta[k] * value
    }
  const ones = b.constant(float32Tensor([width], new Float32Array(width).fill(1)), 'ones')
  const normalised = b.emit('LayerNormalization', [source, ones], norm.attributes)
  const product = b.matMul(normalised, b.constant(float32Tensor([rows, columns], scaled), weight.name))
  return [
    offset.every((v) => v === 0) ? product : b.add(product, b.constant(float32Tensor([columns], offset), 'offset')),
  ]
}

const isMatrix = (value: Value | undefined): value is Value =>
  value?.constant !== undefined && value.shape.length === 2 && value.dtype === 'float32'

const holdsOnly = (value: Value, number: number): boolean =>
  value.constant !== undefined && (value.constant.data as Float32Array).every((element) => element === number)
const isPlain = (scale: Value, bias: Value | undefined): boolean =>
  holdsOnly(scale, 1) && (bias === undefined || holdsOnly(bias, 0))

/** Whether a reader of the normalisation is a product that can take its scale in. */
const readsAsProduct = (user: Node, value: Value): boolean =>
  user.op === 'MatMul' && user.inputs[0] === value && isMatrix(user.inputs[1])
