import { GraphBuilder } from '../builder.js'
import { sameShape } from '../dim.js'
import { Graph, type Node, type Value } from '../ir.js'
import { attention } from './attention.js'
import { attentionScale } from './attention-scale.js'
import { batchNormalisation } from './batch-normalisation.js'
import { convolutionPadding } from './convolution-padding.js'
import { expandedOperand } from './expand.js'
import { fixedParameters } from './fixed.js'
import { foldedBatchNormalisation, foldedNormalisation } from './folded-normalisation.js'
import { gelu } from './gelu.js'
import { reshapes, transposeOfJoinedAxes, transposes } from './layout.js'
import { gemmBias, linear } from './linear.js'
import { softmaxGuard, uniformWhere } from './masks.js'
import { neutralOperand, nothingToDo } from './neutral.js'
import { layerNormalisation, normalisationScale, rmsNormalisation } from './normalisation.js'
import { relu } from './relu.js'
import type { Rule } from './rule.js'
import { selectionFirst } from './selections.js'
import { gatheredRun, siblingSlices } from './splits.js'
import { constantSums } from './sums.js'

export type { Rule, Site } from './rule.js'
export { uniformValue } from './uniform.js'

/** In the order they are tried at each node; the first that applies wins. */
export const rules: Readonly<Record<string, Rule>> = {
  fixedParameters,
  attention,
  nothingToDo,
  neutralOperand,
  expandedOperand,
  uniformWhere,
  softmaxGuard,
  transposeOfJoinedAxes,
  reshapes,
  transposes,
  siblingSlices,
  gatheredRun,
  layerNormalisation,
  rmsNormalisation,
  normalisationScale,
  foldedNormalisation,
  foldedBatchNormalisation,
  gelu,
  relu,
  constantSums,
  linear,
  gemmBias,
  attentionScale,
  convolutionPadding,
  batchNormalisation,
}

/** One rule prepares the ground for another; real exports settle in three passes. */
const PASSES = 6

export interface CanonicaliseOptions {
  /** Leave the content of the file's initialisers alone, because gradients in them will be asked for. */
  readonly keepParameters: boolean
  /** Compute only the tokens that the outputs depend on (default true). Off, blocks keep their usual shapes. */
  readonly narrow?: boolean
}

/** A selection moves past one operator a pass; the way through the last block of a transformer is some thirty long. */
const NARROWING_PASSES = 64

/**
 * The same function in fewer and bigger operators: normalisations and activations spelled out in primitives become one node, what
 * changes nothing goes, packed projections are split once. Results stay equal to float32 rounding. `graph` is not changed.
 */
export function canonicalise(graph: Graph, options: CanonicaliseOptions): Graph {
  const settled = settle(graph, Object.values(rules), options, PASSES)
  if (options.narrow === false) return settled
  return settle(
    settled,
    [selectionFirst, rules.reshapes, rules.transposes, foldedNormalisation],
    options,
    NARROWING_PASSES,
  )
}

/** Applies rules until none applies. */
function settle(graph: Graph, all: readonly Rule[], options: CanonicaliseOptions, passes: number): Graph {
  let current = graph
  for (let pass = 0; pass < passes; pass++) {
    const { graph: next, applied } = applyRules(current, all, options)
    if (applied === 0) return pass === 0 ? next : current
    current = next
  }
  return current
}

/** One pass of rules over all nodes, in order; unused nodes are dropped. */
export function applyRules(
  graph: Graph,
  all: readonly Rule[],
  { keepParameters }: CanonicaliseOptions,
): { graph: Graph; applied: number } {
  const readers = new Map<Value, Node[]>()
  for (const node of graph.nodes)
    for (const input of new Set(node.inputs)) {
      if (input === undefined) continue
      const list = readers.get(input)
      if (list === undefined) readers.set(input, [node])
      else list.push(node)
    }
  const users = (value: Value) => readers.get(value) ?? []

  const b = new GraphBuilder(new Graph(graph.name))
  // What a node is rewritten to keeps the names of the file, so nothing new may take them.
  for (const node of graph.nodes) for (const output of node.outputs) b.adopt(output)
  const named = new Set<Value>()
  const image = new Map<Value, Value>()
  const mapped = (value: Value): Value => {
    let found = image.get(value)
    if (found === undefined) {
      found = value.constant === undefined || value.parameter ? b.adopt(value) : b.constant(value.constant, value.name)
      image.set(value, found)
      named.add(found)
    }
    return found
  }
  b.graph.inputs.push(...graph.inputs.map(mapped))
  let applied = 0
  for (const node of graph.nodes) {
    const inputs = node.inputs.map((input) => input && mapped(input))
    let outputs: readonly Value[] | undefined
    for (const rule of all) {
      outputs = rule({ node, inputs, b, users, keepParameters })
      if (outputs === undefined) continue
      if (!outputs.every((output, i) => sameShape(output.shape, node.outputs[i].shape)))
        throw new Error(`a rewriting of ${node.op} ${node.name} changed its shape`)
      break
    }
    if (outputs !== undefined) applied++
    else outputs = b.emitAll(node.op, inputs, node.attributes, node.outputs.length)
    node.outputs.forEach((output, i) => {
      if (outputs[i] === undefined) return
      image.set(output, outputs[i])
      if (outputs[i].producer !== undefined && !named.has(outputs[i])) outputs[i].name = output.name
      named.add(outputs[i])
    })
  }
  b.graph.outputs.push(...graph.outputs.map(mapped))
  dropUnused(b.graph)
  return { graph: b.graph, applied }
}

/** Removes nodes that no output depends on. */
export function dropUnused(graph: Graph): void {
  const wanted = new Set<Value>(graph.outputs)
  graph.nodes = graph.nodes
    .reverse()
    .filter((node) => {
      if (!node.outputs.some((output) => wanted.has(output))) return false
      for (const input of node.inputs) if (input !== undefined) wanted.add(input)
      return true
    })
    .reverse()
}
