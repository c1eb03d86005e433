import { ModelError } from '../errors/index.js'
import { evaluate, type NdArray } from '../interpreter/index.js'
import { numbersOf } from '../tensor/index.js'
import { isBatch, showShape, sizeAt } from './dim.js'
import type { Graph, Value } from './ir.js'

/**
 * Runs a graph in the float64 interpreter: the oracle of the tests. `feeds` holds every graph input by name; the batch size is theirs.
 * Returns what `wanted` (default: the graph's outputs) come to. Intermediate results are dropped after their last use. Throws
 * ModelError SHAPE_MISMATCH where an input, or the result of a node, has another shape than the graph says.
 */
export function interpret(
  graph: Graph,
  feeds: ReadonlyMap<string, NdArray>,
  wanted: readonly Value[] = graph.outputs,
): NdArray[] {
  const values = new Map<Value, NdArray>()
  let batch = 1
  const keep = (value: Value, array: NdArray): void => {
    const { shape } = array
    if (shape.length !== value.shape.length || !value.shape.every((dim, i) => sizeAt(dim, batch) === shape[i]))
      throw new ModelError('SHAPE_MISMATCH', `it has another shape than inferred for N = ${batch}`, {
        subject: value.name,
        expected: showShape(value.shape),
        found: showShape(shape),
      })
    values.set(value, array)
  }
  for (const input of graph.inputs) {
    const fed = feeds.get(input.name)
    if (fed === undefined)
      throw new ModelError('MODEL_INVALID', 'the input is not fed', {
        subject: input.name,
        found: [...feeds.keys()].join(),
      })
    const axis = input.shape.findIndex(isBatch)
    const dim = input.shape[axis]
    if (dim !== undefined && isBatch(dim) && values.size === 0) batch = fed.shape[axis] / dim.factor
    keep(input, fed)
  }
  const content = (value: Value): NdArray => {
    const known = values.get(value)
    if (known !== undefined) return known
    if (value.constant === undefined)
      throw new ModelError('MODEL_INVALID', 'the value is used before it is computed', { subject: value.name })
    return { dtype: value.dtype, shape: value.constant.shape, data: numbersOf(value.constant) }
  }
  const lastUse = new Map<Value, number>()
  for (const [i, node] of graph.nodes.entries())
    for (const input of node.inputs) if (input !== undefined) lastUse.set(input, i)
  for (const value of wanted) lastUse.set(value, graph.nodes.length)
  for (const [i, node] of graph.nodes.entries()) {
    const inputs = node.inputs.map((input) => input && content(input))
    const results = evaluate(node.op, node.attributes, inputs, node.outputs.length)
    for (const [k, output] of node.outputs.entries()) if (results[k] !== undefined) keep(output, results[k])
    for (const value of [...node.inputs, ...node.outputs])
      if (value !== undefined && (lastUse.get(value) ?? -1) <= i) values.delete(value)
  }
  return wanted.map(content)
}
