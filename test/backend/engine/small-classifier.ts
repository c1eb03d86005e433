import { Graph, GraphBuilder, N, type Value } from '#signstep/graph/index.js'
import { float32Tensor } from '#signstep/tensor/index.js'
import { randomArray, randomNumbers } from '../../support/random.js'

/** A small classifier of images, 3×9×8 unless said otherwise: what `build` makes of them, averaged. */
export function classifier(build: (b: GraphBuilder, images: Value) => Value, size = [9, 8], channels = 3): Graph {
  const b = new GraphBuilder(new Graph('small'))
  const y = build(b, b.input('images', 'float32', [N, channels, ...size]))
  const pooled = b.reduceMean(y, [2, 3], false)
  b.graph.outputs.push(b.matMul(pooled, weights(b, [y.shape[1] as number, 4])))
  return b.graph
}

export function weights(b: GraphBuilder, shape: readonly number[]): Value {
  const { data } = randomArray(randomNumbers(shape.reduce((a, d) => 31 * a + d)), shape)
  return b.constant(float32Tensor(shape, Float32Array.from(data)))
}
