import { type GraphBuilder, N, type Value } from '#signstep/graph/index.js'
import { float32Tensor } from '#signstep/tensor/index.js'
import { randomNumbers } from './random.js'

export const classAttentionShape = [3, 12, 12] as const
const [SIDE, TOKENS, WIDTH, HEADS, CLASSES] = [4, 9, 24, 3, 10]

/** Patches, a class token, and an attention in which it alone asks (CaiT's, or that of a pooling head): one query, ten keys, heads of eight. */
export function classAttention(b: GraphBuilder, images: Value): Value {
  const next = randomNumbers(17)
  let count = 0
  const parameter = (shape: readonly number[]): Value => {
    const elements = shape.reduce((a, c) => a * c, 1)
    const values = Array.from({ length: elements }, () => (next() - 0.5) * 0.8)
    return b.parameter(float32Tensor(shape, values), `w${count++}`)
  }
  const embedded = b.emit('Conv', [images, parameter([WIDTH, 3, SIDE, SIDE])], { strides: [SIDE, SIDE] })
  const patches = b.transpose(b.reshape(embedded, [N, WIDTH, TOKENS]), [0, 2, 1])
  const first = b.emit('Expand', [parameter([1, 1, WIDTH]), b.concat([b.batchSize(1), b.ints([1, WIDTH])], 0)])
  const tokens = b.emit('Tanh', [b.concat([first, patches], 1)])
  const heads = (x: Value, rows: number): Value =>
    b.transpose(b.reshape(b.matMul(x, parameter([WIDTH, WIDTH])), [N, rows, HEADS, WIDTH / HEADS]), [0, 2, 1, 3])
  const mean = b.reshape(b.reduceMean(tokens, [1]), [N, 1, WIDTH])
  const [q, k, v] = [heads(mean, 1), heads(tokens, TOKENS + 1), heads(tokens, TOKENS + 1)]
  const scores = b.mul(b.matMul(q, b.transpose(k, [0, 1, 3, 2])), 0.5)
  const looked = b.matMul(b.emit('Softmax', [scores], { axis: -1 }), v)
  const joined = b.reshape(b.transpose(looked, [0, 2, 1, 3]), [N, WIDTH])
  return b.matMul(joined, parameter([WIDTH, CLASSES]))
}
