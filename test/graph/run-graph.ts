import { type Graph, interpret } from '#signstep/graph/index.js'
import type { NdArray } from '#signstep/interpreter/index.js'
import { elementCount } from '#signstep/tensor/index.js'

/** Runs a graph in float64 on its inputs in order: the definition the rewritten graph has to agree with. */
export function runGraph(graph: Graph, inputs: readonly NdArray[]): NdArray[] {
  return interpret(graph, new Map(graph.inputs.map(({ name }, i) => [name, inputs[i]])))
}

/** Numbers in (−1, 1) that repeat from run to run. */
export function randomArray(shape: readonly number[], seed = 1): NdArray {
  let state = seed * 2654435761
  const data = Float64Array.from({ length: elementCount(shape) }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    return state / 2 ** 31 - 1
  })
  return { dtype: 'float32', shape, data }
}

/** Largest difference between two arrays, relative to the largest element. */
export function difference(a: NdArray, b: NdArray): number {
  if (a.shape.join() !== b.shape.join()) throw new Error(`shapes [${a.shape}] and [${b.shape}] differ`)
  let worst = 0
  let largest = 1e-30
  for (let i = 0; i < a.data.length; i++) {
    worst = Math.max(worst, Math.abs(a.data[i] - b.data[i]))
    largest = Math.max(largest, Math.abs(a.data[i]))
  }
  return worst / largest
}
