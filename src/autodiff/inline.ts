import type { Graph, GraphBuilder, Node, Value } from '../graph/index.js'

/** Operators whose backward needs more outputs than the model itself asks for. */
const FULL_OUTPUTS: Readonly<Record<string, number>> = { LayerNormalization: 3, MaxPool: 2, TopK: 2 }

/**
 * Appends the nodes of `model` to `b.graph` with its inputs replaced, and returns its outputs there. Parameters keep their identity.
 * Nodes come out in the form their gradient needs (LayerNormalization with mean and deviation, MaxPool with indices), so that the
 * backward shares them instead of computing them again.
 */
export function inline(b: GraphBuilder, model: Graph, inputs: readonly Value[]): Value[] {
  const mapped = new Map<Value, Value>(model.inputs.map((input, i) => [input, inputs[i]]))
  const translate = (value: Value): Value => {
    let own = mapped.get(value)
    if (own === undefined) {
      own = b.adopt(value)
      mapped.set(value, own)
    }
    return own
  }
  for (const node of model.nodes) {
    const outputs = b.within(node.name, () =>
      b.emitAll(
        node.op,
        node.inputs.map((input) => input && translate(input)),
        node.attributes,
        outputCount(node),
      ),
    )
    for (const [i, output] of node.outputs.entries()) mapped.set(output, outputs[i])
  }
  return model.outputs.map(translate)
}

const outputCount = (node: Node): number => Math.max(node.outputs.length, FULL_OUTPUTS[node.op] ?? 0)
