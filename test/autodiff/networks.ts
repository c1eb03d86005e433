import type { GraphBuilder, Value } from '#signstep/graph/index.js'
import { float32Tensor } from '#signstep/tensor/index.js'
import { randomArray, randomNumbers } from '../support/random.js'

/** Makes the weights of a small network as they are asked for. */
export type Weight = (name: string, shape: readonly number[]) => Value

/** Weights as constants that count as parameters of a model file. */
export function parameterWeights(b: GraphBuilder, seed = 7): Weight {
  const random = randomNumbers(seed)
  return (name, shape) => {
    const { data } = randomArray(random, shape, -0.6, 0.6)
    const value = b.constant(float32Tensor(shape, data), name)
    value.parameter = true
    return value
  }
}

/** Images [N,1,4,4] → patches of 2×2, a class token, positions, one pre-norm block of two heads, logits [N,3]. */
export function tinyTransformer(b: GraphBuilder, images: Value, weight: Weight): Value {
  const [batch] = images.shape
  const [dim, heads, tokens] = [4, 2, 5]
  const linear = (x: Value, name: string, inner: number, outer: number): Value =>
    b.add(b.matMul(x, weight(`${name}.weight`, [inner, outer])), weight(`${name}.bias`, [outer]))
  const norm = (x: Value, name: string): Value =>
    b.emit('LayerNormalization', [x, weight(`${name}.scale`, [dim]), weight(`${name}.bias`, [dim])], { epsilon: 1e-5 })
  const patches = b.emit('Conv', [images, weight('patch.weight', [dim, 1, 2, 2]), weight('patch.bias', [dim])], {
    strides: [2, 2],
  })
  const sequence = b.transpose(b.reshape(patches, [batch, dim, 4]), [0, 2, 1])
  const token = b.expand(weight('token', [1, 1, dim]), [batch, 1, dim])
  let x = b.add(b.concat([token, sequence], 1), weight('positions', [1, tokens, dim]))

  const qkv = b.reshape(linear(norm(x, 'norm1'), 'qkv', dim, 3 * dim), [batch, tokens, 3, heads, dim / heads])
  const [q, k, v] = b
    .emitAll('Split', [b.transpose(qkv, [2, 0, 3, 1, 4]), b.ints([1, 1, 1])], { axis: 0 }, 3)
    .map((part) => b.squeeze(part, [0]))
  const scores = b.mul(b.matMul(q, b.matrixTranspose(k)), (dim / heads) ** -0.5)
  const mixed = b.matMul(b.emit('Softmax', [scores], { axis: -1 }), v)
  x = b.add(x, linear(b.reshape(b.transpose(mixed, [0, 2, 1, 3]), [batch, tokens, dim]), 'out', dim, dim))
  x = b.add(x, linear(b.emit('Gelu', [linear(norm(x, 'norm2'), 'up', dim, 6)]), 'down', 6, dim))

  const first = b.emit('Gather', [norm(x, 'norm'), b.ints([0])], { axis: 1 })
  return b.emit('Gemm', [b.reshape(first, [batch, dim]), weight('head.weight', [3, dim]), weight('head.bias', [3])], {
    transB: 1,
  })
}

/** Images [N,1,4,4] → convolution, BatchNormalization, ReLU, max-pooling, a strided residual block, pooling, logits [N,3]. */
export function tinyResidual(b: GraphBuilder, images: Value, weight: Weight): Value {
  const conv = (x: Value, name: string, from: number, to: number, stride = 1): Value =>
    b.emit('Conv', [x, weight(`${name}.weight`, [to, from, 3, 3])], { pads: [1, 1, 1, 1], strides: [stride, stride] })
  const norm = (x: Value, name: string, channels: number): Value =>
    b.emit('BatchNormalization', [
      x,
      weight(`${name}.scale`, [channels]),
      weight(`${name}.bias`, [channels]),
      b.constant(float32Tensor([channels], [0.1, -0.1, 0.2].slice(0, channels)), 'mean'),
      b.constant(float32Tensor([channels], [0.9, 1.1, 1].slice(0, channels)), 'variance'),
    ])
  const relu = (x: Value): Value => b.emit('Relu', [x])
  const stem = b.emit('MaxPool', [relu(norm(conv(images, 'stem', 1, 2), 'norm1', 2))], {
    kernel_shape: [2, 2],
    strides: [1, 1],
  })
  const inner = relu(norm(conv(stem, 'first', 2, 3, 2), 'norm2', 3))
  const shortcut = b.emit('Conv', [stem, weight('shortcut.weight', [3, 2, 1, 1])], { strides: [2, 2] })
  const block = relu(b.add(norm(conv(inner, 'second', 3, 3), 'norm3', 3), shortcut))
  const pooled = b.reshape(b.emit('GlobalAveragePool', [block]), [images.shape[0], 3])
  return b.emit('Gemm', [pooled, weight('head.weight', [3, 3]), weight('head.bias', [3])], { transB: 1 })
}
