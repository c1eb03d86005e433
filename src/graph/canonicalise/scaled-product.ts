import { float32Tensor } from '../../tensor/index.js'
import type { GraphBuilder } from '../builder.js'
import { intAttribute, type Node, type Value } from '../ir.js'

/** A product of rows with a constant matrix, possibly with a constant bias: MatMul, or Gemm without factors. */
export function isProductOfRows(node: Node): boolean {
  const [x, weight, bias] = node.inputs
  if (node.op !== 'MatMul' && node.op !== 'Gemm') return false
  if (x === undefined || weight?.constant === undefined || weight.shape.length !== 2 || weight.dtype !== 'float32')
    return false
  if (node.op === 'MatMul') return true
  const plain = (name: string, value: number): boolean => intAttribute(node.attributes, name, value) === value
  if (!plain('transA', 0) || !plain('alpha', 1) || !plain('beta', 1)) return false
  if (bias === undefined) return true
  // One number a column, or one for all: not one a row.
  const columns = weight.shape[intAttribute(node.attributes, 'transB', 0) === 1 ? 0 : 1]
  return bias.constant !== undefined && bias.dtype === 'float32' && [1, columns].includes(bias.constant.data.length)
}

/** (x·factor + offset)·W (+ bias), factor and offset one a column of x, as a product of x itself: the numbers go into W and a bias. */
export function scaledProduct(
  b: GraphBuilder,
  node: Node,
  x: Value,
  weight: Value,
  bias: Value | undefined,
  factor: ArrayLike<number>,
  offset: ArrayLike<number> | undefined,
): Value {
  const transposed = node.op === 'Gemm' && intAttribute(node.attributes, 'transB', 0) === 1
  const [first, second] = weight.shape as number[]
  const [rows, columns] = transposed ? [second, first] : [first, second]
  const w = weight.constant?.data as Float32Array
  const scaled = new Float32Array(w.length)
  const shift = new Float64Array(columns)
  for (let k = 0; k < rows; k++)
    for (let j = 0; j < columns; j++) {
      const at = transposed ? j * rows + k : k * columns + j
      scaled[at] = factor[k] * w[at]
      if (offset !== undefined) shift[j] += offset[k] * w[at]
    }
  const matrix = b.constant(float32Tensor(weight.constant?.shape ?? [], scaled), weight.name)
  const shifted = shift.some((value) => value !== 0)
  if (node.op === 'MatMul') {
    const product = b.matMul(x, matrix)
    return shifted ? b.add(product, b.constant(float32Tensor([columns], shift), 'offset')) : product
  }
  const given = bias?.constant?.data as Float32Array | undefined
  if (!shifted) return b.emit('Gemm', [x, matrix, bias], node.attributes)
  const sum = shift.map((value, j) => value + (given === undefined ? 0 : given[given.length === 1 ? 0 : j]))
  return b.emit('Gemm', [x, matrix, b.constant(float32Tensor([columns], sum), 'bias')], node.attributes)
}
