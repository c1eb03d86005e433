import { differentiate } from '#signstep/autodiff/index.js'
import { Graph, GraphBuilder, interpret, type Value } from '#signstep/graph/index.js'
import type { NdArray } from '#signstep/interpreter/index.js'
import { float32Tensor } from '#signstep/tensor/index.js'
import { randomArray, randomNumbers } from '../support/random.js'

export interface GradientCase {
  readonly name: string
  /** Shapes of the differentiable inputs. */
  readonly shapes: readonly (readonly number[])[]
  readonly build: (b: GraphBuilder, inputs: Value[]) => Value
  /** Range of the random inputs. Default [−1, 1]. */
  readonly range?: readonly [number, number]
  /** Step of the central differences. */
  readonly step?: number
}

/**
 * Compares `differentiate` with central differences in float64 on random inputs: the gradient of Σ weights·f(inputs), and with `order` 2
 * the gradient of Σ weights·(first gradient). Returns the largest error relative to the largest gradient element.
 */
export function gradientError(
  { shapes, build, range = [-1, 1], step = 1e-5 }: GradientCase,
  order: 1 | 2,
  seed = 1,
): number {
  const random = randomNumbers(seed)
  const b = new GraphBuilder(new Graph('case'))
  const inputs = shapes.map((shape, i) => b.input(`x${i}`, 'float32', shape))
  let scalar = weightedSum(b, build(b, inputs), random)
  if (order === 2) {
    const first = gradientsOf(b, scalar, inputs)
    scalar = first.map((g) => weightedSum(b, g, random)).reduce((sum, term) => b.add(sum, term))
  }
  const gradients = gradientsOf(b, scalar, inputs)
  const feeds = new Map<string, NdArray>(
    inputs.map((input, i) => [input.name, randomArray(random, shapes[i], ...range)]),
  )
  const found = interpret(b.graph, feeds, gradients)
  let worst = 0
  let largest = 0
  for (const [i, input] of inputs.entries()) {
    const feed = feeds.get(input.name) as NdArray
    for (const k of feed.data.keys()) {
      const at = feed.data[k]
      const value = (x: number): number => {
        feed.data[k] = x
        const [result] = interpret(b.graph, feeds, [scalar])
        feed.data[k] = at
        return result.data[0]
      }
      const difference = (value(at + step) - value(at - step)) / (2 * step)
      worst = Math.max(worst, Math.abs(difference - found[i].data[k]))
      largest = Math.max(largest, Math.abs(difference))
    }
  }
  return worst / Math.max(largest, 1e-3)
}

function gradientsOf(b: GraphBuilder, scalar: Value, inputs: Value[]): Value[] {
  return differentiate(b, new Map([[scalar, b.scalar(1)]]), inputs).map((g, i) => g ?? b.full(inputs[i].shape, 0))
}

function weightedSum(b: GraphBuilder, value: Value, random: () => number): Value {
  const weights = randomArray(random, value.shape as number[], 0.5, 1.5)
  const product = b.mul(value, b.constant(float32Tensor(weights.shape, weights.data), 'weights'))
  return b.reduceSum(
    product,
    value.shape.map((_, axis) => axis),
    false,
  )
}
