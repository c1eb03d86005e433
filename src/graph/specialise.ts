import { GraphBuilder } from './builder.js'
import { dropUnused } from './canonicalise/index.js'
import { sizeAt } from './dim.js'
import { Graph, type Value } from './ir.js'

/**
 * The graph for one batch size: every size is a number, so that all shape arithmetic folds and memory can be planned. Parameters are
 * the same values, not copies; names stay.
 */
export function specialise(graph: Graph, batch: number): Graph {
  const b = new GraphBuilder(new Graph(graph.name))
  const values = new Map<Value, Value>()
  const specialised = (value: Value): Value => values.get(value) ?? b.adopt(value)
  for (const input of graph.inputs) {
    const shape = input.shape.map((dim) => sizeAt(dim, batch))
    values.set(input, b.input(input.name, input.dtype, shape))
  }
  // What a node makes keeps its name, so nothing folded on the way may take it.
  for (const node of graph.nodes) for (const output of node.outputs) b.adopt(output)
  for (const node of graph.nodes) {
    const inputs = node.inputs.map((input) => input && specialised(input))
    const before = b.graph.nodes.length
    const made = b.emitAll(node.op, inputs, node.attributes, node.outputs.length)
    const fresh = b.graph.nodes.length > before
    for (const [i, output] of node.outputs.entries()) {
      values.set(output, made[i])
      if (fresh) made[i].name = output.name
    }
  }
  b.graph.outputs.push(...graph.outputs.map(specialised))
  dropUnused(b.graph)
  return b.graph
}
