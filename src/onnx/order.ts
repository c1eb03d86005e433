import { ModelError } from '../errors/index.js'
import { DraftGraph, type DraftNode } from './draft.js'

/**
 * Brings the nodes into an order in which every value is made before it is used (most files are already; the order is kept
 * then) and checks that every value used exists and is made once.
 * @throws ModelError MODEL_INVALID naming the node and the value.
 */
export function orderNodes(graph: DraftGraph, source: string, outer: ReadonlySet<string> = new Set()): void {
  const available = new Set(['', ...outer, ...graph.initialisers.keys(), ...graph.inputs.map(({ name }) => name)])
  const producers = new Map<string, DraftNode>()
  for (const node of graph.nodes) {
    for (const output of node.outputs) {
      if (output === '') continue
      if (producers.has(output) || available.has(output)) throw invalid(source, node, `makes '${output}' a second time`)
      producers.set(output, node)
    }
  }

  const ordered: DraftNode[] = []
  const state = new Map<DraftNode, 'open' | 'done'>()
  // Depth first with a stack of our own: a chain of nodes in reverse order must not overflow the call stack.
  for (const root of graph.nodes) {
    const stack = [root]
    while (stack.length > 0) {
      const node = stack[stack.length - 1]
      if (state.get(node) === 'done') {
        stack.pop()
        continue
      }
      const before = state.get(node) === undefined ? missingBefore(node, available, producers, source) : []
      state.set(node, 'open')
      if (before.some((producer) => state.get(producer) === 'open'))
        throw invalid(source, node, 'depends on its own result')
      if (before.length > 0) {
        stack.push(...before)
        continue
      }
      for (const output of node.outputs) available.add(output)
      ordered.push(node)
      state.set(node, 'done')
      stack.pop()
    }
  }
  graph.nodes = ordered
  for (const node of ordered)
    for (const value of Object.values(node.attributes))
      if (value instanceof DraftGraph) orderNodes(value, source, available)
  for (const { name } of graph.outputs) {
    if (!available.has(name)) {
      throw new ModelError('MODEL_INVALID', `nothing makes the output '${name}'`, { subject: source })
    }
  }
}

/** The nodes that have to come before `node` and have not come yet. */
function missingBefore(
  node: DraftNode,
  available: ReadonlySet<string>,
  producers: ReadonlyMap<string, DraftNode>,
  source: string,
): DraftNode[] {
  const missing = new Set<DraftNode>()
  for (const name of usedBy(node)) {
    if (available.has(name)) continue
    const producer = producers.get(name)
    if (producer !== undefined) missing.add(producer)
    else if (node.inputs.includes(name)) throw invalid(source, node, `uses '${name}', which nothing makes`)
  }
  return [...missing]
}

/** The node's inputs and whatever its inner graphs may take from outside. */
function* usedBy(node: DraftNode): Generator<string> {
  yield* node.inputs
  for (const value of Object.values(node.attributes)) {
    if (!(value instanceof DraftGraph)) continue
    for (const graph of value.nested()) for (const inner of graph.nodes) yield* inner.inputs
    for (const graph of value.nested()) for (const { name } of graph.outputs) yield name
  }
}

function invalid(source: string, node: DraftNode, what: string): ModelError {
  return new ModelError('MODEL_INVALID', `the node ${what}`, {
    subject: `${source}, node '${node.name}' (${node.op})`,
    cure: "Check the file with Python's onnx.checker.",
  })
}
