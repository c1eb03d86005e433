import type { Graph, Node, Value } from '../ir.js'
import { flopsOf } from './flops.js'
import { bytesOf, keptBy, peakLive, storageOf } from './memory.js'

export { flopsOf } from './flops.js'

/** What a part of a graph costs for one image. */
export interface Cost {
  /** A multiply-add counts two. */
  readonly flops: number
  /** Elements of the file's float initialisers. */
  readonly parameters: number
  /** Bytes of activations that the gradient to the image needs again. */
  readonly keptBytes: number
}

export interface GraphCost extends Cost {
  /** Most bytes of activations alive at once in a forward pass. */
  readonly peakBytes: number
  /** The share of some nodes; parameters and kept values that nodes share count once. */
  of(nodes: Iterable<Node>): Cost
}

/** Operations, parameters and activation memory of a graph at batch size 1. What does not depend on the image costs nothing. */
export function cost(graph: Graph): GraphCost {
  const varying = new Set<Value>(graph.inputs)
  for (const node of graph.nodes)
    if (node.op !== 'Shape' && node.op !== 'Size' && node.inputs.some((input) => input && varying.has(input)))
      for (const output of node.outputs) varying.add(output)
  const varies = (value: Value | undefined) => value !== undefined && varying.has(value)

  // Parameters behind fixed nodes (a transposed weight, a position table) belong to whoever reads the result.
  const parameters = new Map<Value, ReadonlySet<Value>>()
  const none: ReadonlySet<Value> = new Set()
  const parametersOf = (value: Value | undefined): ReadonlySet<Value> => {
    if (value === undefined || varying.has(value)) return none
    if (value.parameter) return new Set([value])
    return parameters.get(value) ?? none
  }
  for (const node of graph.nodes) {
    if (node.outputs.some((output) => varying.has(output))) continue
    const all = new Set(node.inputs.flatMap((input) => [...parametersOf(input)]))
    for (const output of node.outputs) parameters.set(output, all)
  }

  const of = (nodes: Iterable<Node>): Cost => {
    let flops = 0
    const used = new Set<Value>()
    const kept = new Set<Value>()
    for (const node of nodes) {
      for (const input of node.inputs) for (const parameter of parametersOf(input)) used.add(parameter)
      if (!node.outputs.some((output) => varying.has(output))) continue
      flops += flopsOf(node)
      for (const value of keptBy(node, varies)) kept.add(storageOf(value))
    }
    return {
      flops,
      parameters: sum(used, (value) => value.constant?.data.length ?? 0),
      keptBytes: sum(kept, bytesOf),
    }
  }
  return { ...of(graph.nodes), peakBytes: peakLive(graph), of }
}

function sum<T>(values: Iterable<T>, size: (value: T) => number): number {
  let total = 0
  for (const value of values) total += size(value)
  return total
}
