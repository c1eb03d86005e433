import { ModelError } from '../../errors/index.js'
import type { OnnxGraph, OnnxNode } from '../../onnx/index.js'
import { int64Tensor, tensorFromNumbers } from '../../tensor/index.js'
import type { GraphBuilder } from '../builder.js'
import type { Value } from '../ir.js'

/** Runs an inner graph with these inputs, appending its nodes, and returns its outputs. */
export type RunGraph = (graph: OnnxGraph, inputs: readonly Value[]) => readonly Value[]

/** Longer loops are no network that was meant to be unrolled. */
const MOST_ITERATIONS = 4096

/**
 * The outputs of an If whose condition is known once sizes are, or of a Loop whose trip count is: exporters write both around shapes.
 * Undefined for every other node.
 *
 * @throws ModelError OPERATOR_UNSUPPORTED where what is done depends on the image
 */
export function unrolled(
  node: OnnxNode,
  inputs: readonly (Value | undefined)[],
  b: GraphBuilder,
  run: RunGraph,
): readonly Value[] | undefined {
  if (node.domain !== '') return undefined
  if (node.op === 'If') return branch(node, inputs, run)
  if (node.op === 'Loop') return loop(node, inputs, b, run)
  return undefined
}

function branch(node: OnnxNode, [condition]: readonly (Value | undefined)[], run: RunGraph): readonly Value[] {
  const taken = truth(condition)
  if (taken === undefined) throw undecided('the branch taken', 'a condition that follows from sizes')
  return run(innerGraph(node, taken ? 'then_branch' : 'else_branch'), [])
}

function loop(
  node: OnnxNode,
  [count, first, ...initial]: readonly (Value | undefined)[],
  b: GraphBuilder,
  run: RunGraph,
): readonly Value[] {
  const body = innerGraph(node, 'body')
  const trips = count === undefined ? Number.POSITIVE_INFINITY : count.constant && Number(count.constant.data[0])
  if (trips === undefined) throw undecided('the number of iterations', 'a trip count that follows from sizes')
  let condition = first ?? b.constant(tensorFromNumbers('bool', [], [1]), 'true')
  let carried = initial as readonly Value[]
  const scans: Value[][] = body.outputs.slice(1 + initial.length).map(() => [])
  for (let i = 0; i < trips; i++) {
    const goesOn = truth(condition)
    if (goesOn === undefined) throw undecided('the number of iterations', 'a condition that follows from sizes')
    if (!goesOn) break
    if (i === MOST_ITERATIONS) throw undecided('a loop this long', `at most ${MOST_ITERATIONS} iterations`)
    const [next, ...results] = run(body, [b.constant(int64Tensor([i], []), 'iteration'), condition, ...carried])
    condition = next
    carried = results.slice(0, initial.length)
    for (const [k, scan] of scans.entries()) scan.push(b.unsqueeze(results[initial.length + k], [0]))
  }
  if (scans.some((scan) => scan.length === 0)) throw undecided('a loop that never runs', 'at least one iteration')
  return [...carried, ...scans.map((scan) => b.concat(scan, 0))]
}

function truth(value: Value | undefined): boolean | undefined {
  return value?.constant && Number(value.constant.data[0]) !== 0
}

function innerGraph(node: OnnxNode, name: string): OnnxGraph {
  const graph = node.attributes[name]
  if (typeof graph === 'object' && 'nodes' in graph) return graph
  throw new ModelError('MODEL_INVALID', `the graph '${name}' is missing`, { found: node.op })
}

const undecided = (what: string, expected: string): ModelError =>
  new ModelError('OPERATOR_UNSUPPORTED', `${what} cannot be told before the model runs`, {
    expected,
    cure: 'Export the model by tracing with a fixed input size, or take the control flow out of it.',
  })
