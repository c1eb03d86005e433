import { evaluate, type NdArray } from '../interpreter/index.js'
import { numbersOf } from '../tensor/index.js'
import type { Graph, Value } from './ir.js'

/**
 * Runs a graph in the float64 interpreter: the oracle of the tests. `feeds` holds every graph input by name; the batch size is theirs.
 * Returns what `wanted` (default: the graph's outputs) come to.
 */
export function interpret(
  graph: Graph,
  feeds: ReadonlyMap<string, NdArray>,
  wanted: readonly Value[] = graph.outputs,
): NdArray[] {
  const values = new Map<Value, NdArray>()
  for (const input of graph.inputs) {
    const fed = feeds.get(input.name)
    if (fed === undefined) throw new Error(`no feed for input ${input.name}`)
    values.set(input, fed)
  }
  const content = (value: Value): NdArray => {
    const known = values.get(value)
    if (known !== undefined) return known
    if (value.constant === undefined) throw new Error(`${value.name} is used before it is computed`)
    const array: NdArray = { dtype: value.dtype, shape: value.constant.shape, data: numbersOf(value.constant) }
    values.set(value, array)
    return array
  }
  for (const node of graph.nodes) {
    const inputs = node.inputs.map((input) => input && content(input))
    for (const [i, result] of evaluate(node.op, node.attributes, inputs, node.outputs.length).entries())
      values.set(node.outputs[i], result)
  }
  return wanted.map(content)
}
