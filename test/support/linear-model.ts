import { join } from 'node:path'
import { exportModel, Graph, GraphBuilder, N, type Value } from '#signstep/graph/index.js'
import { writeModel } from '#signstep/onnx/index.js'
import { float32Tensor } from '#signstep/tensor/index.js'
import { scratch } from './cli.js'
import { randomNumbers } from './random.js'

/** Writes a model of one's own making to a file: images [N,…shape] → logits. */
export async function modelFile(
  shape: readonly [number, number, number],
  build: (b: GraphBuilder, images: Value) => Value,
  name = 'model.onnx',
): Promise<string> {
  const b = new GraphBuilder(new Graph('test'))
  const logits = build(b, b.input('input', 'float32', [N, ...shape]))
  logits.name = 'logits'
  b.graph.outputs.push(logits)
  const path = join(scratch(), name)
  await writeModel(path, exportModel(b.graph))
  return path
}

/** logits = flatten(x)·W, W [pixels, classes]: its gradients can be worked out by hand. */
export function linearModel(
  shape: readonly [number, number, number],
  weights: readonly (readonly number[])[],
): Promise<string> {
  return modelFile(shape, (b, images) => {
    const flat = b.reshape(images, [N, shape[0] * shape[1] * shape[2]])
    return b.matMul(flat, b.parameter(float32Tensor([weights.length, weights[0].length], weights.flat()), 'weight'))
  })
}

/** A linear model with random weights, of images [3, 8, 8] in 10 classes, and as many random images as asked for. */
export async function randomLinearModel(seed: number, count: number): Promise<{ file: string; images: Float32Array }> {
  const next = randomNumbers(seed)
  const numbers = (length: number): Float32Array => Float32Array.from({ length }, () => next())
  const [pixels, classes] = [3 * 8 * 8, 10]
  const images = numbers(count * pixels)
  const weights = numbers(pixels * classes).map((x) => x - 0.5)
  const file = await modelFile([3, 8, 8], (b, x) =>
    b.matMul(b.reshape(x, [N, pixels]), b.parameter(float32Tensor([pixels, classes], weights), 'weight')),
  )
  return { file, images }
}
