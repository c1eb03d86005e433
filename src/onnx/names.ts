import { DraftGraph, type DraftNode } from './draft.js'

/** Gives out names no value of the model has yet, inner graphs included. */
export class Names {
  private readonly used = new Set<string>()
  private readonly counters = new Map<string, number>()

  constructor(graph: DraftGraph) {
    for (const { inputs, initialisers, nodes } of graph.nested()) {
      for (const { name } of inputs) this.used.add(name)
      for (const name of initialisers.keys()) this.used.add(name)
      for (const node of nodes) for (const name of node.outputs) this.used.add(name)
    }
  }

  /** `hint` itself where it is free, else with a number after it. */
  fresh(hint: string): string {
    let name = hint
    let count = this.counters.get(hint) ?? 0
    while (this.used.has(name)) name = `${hint}_${++count}`
    this.counters.set(hint, count)
    this.used.add(name)
    return name
  }
}

/** Runtimes refuse two nodes of one name; the second gets a number. */
export function nameNodesApart(graph: DraftGraph): void {
  const used = new Set(graph.nodes.map(({ name }) => name))
  if (used.size === graph.nodes.length) return
  const seen = new Set<string>()
  graph.nodes = graph.nodes.map((node) => {
    let { name } = node
    for (let count = 2; seen.has(name) || (name !== node.name && used.has(name)); count++)
      name = `${node.name}_${count}`
    seen.add(name)
    return name === node.name ? node : { ...node, name }
  })
}

/** A copy of the graph in which every value's name has gone through `rename`. */
export function renameGraph(graph: DraftGraph, rename: (name: string) => string): DraftGraph {
  const out = new DraftGraph(graph.name)
  out.inputs = graph.inputs.map((info) => ({ ...info, name: rename(info.name) }))
  out.outputs = graph.outputs.map((info) => ({ ...info, name: rename(info.name) }))
  for (const [name, rank] of graph.ranks) out.ranks.set(rename(name), rank)
  for (const [name, tensor] of graph.initialisers) out.initialisers.set(rename(name), tensor)
  out.nodes = graph.nodes.map((node) => renameNode(node, rename))
  return out
}

export function renameNode(node: DraftNode, rename: (name: string) => string): DraftNode {
  const attributes = Object.fromEntries(
    Object.entries(node.attributes).map(([key, value]) => [
      key,
      value instanceof DraftGraph ? renameGraph(value, rename) : value,
    ]),
  )
  return { ...node, inputs: node.inputs.map(rename), outputs: node.outputs.map(rename), attributes }
}
