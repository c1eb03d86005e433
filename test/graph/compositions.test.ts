import { describe, expect, it } from 'vitest'
import { compositions, Graph, GraphBuilder, type Value } from '#signstep/graph/index.js'
import type { NdArray } from '#signstep/interpreter/index.js'
import { isFloat, numbersOf, type Tensor } from '#signstep/tensor/index.js'
import { type ConformanceCase, casesPresent, conformanceCases } from '../support/conformance-cases.js'
import { difference, runGraph } from './run-graph.js'

const array = ({ dtype, shape, data }: Tensor): NdArray => ({
  dtype,
  shape,
  data: numbersOf({ dtype, shape, data } as Tensor),
})

/** Runs the only node of a case as the nodes it is read as. Floats come in as inputs, integers as constants. */
async function differenceOf({ model, input, output }: ConformanceCase): Promise<number> {
  const [node] = model.graph.nodes
  const b = new GraphBuilder(new Graph('case'))
  const values: NdArray[] = []
  const named = new Map<string, Value>()
  for (const [name, tensor] of model.graph.initialisers) named.set(name, b.constant(tensor, name))
  for (const [i, { name }] of model.graph.inputs.entries()) {
    const tensor = await input(i)
    if (tensor === undefined) continue
    if (isFloat(tensor.dtype)) {
      named.set(name, b.input(name, 'float32', tensor.shape))
      values.push(array(tensor))
    } else named.set(name, b.constant(tensor, name))
  }
  const inputs = node.inputs.map((name) => (name === '' ? undefined : named.get(name)))
  const made = compositions[node.op]({ b, inputs, attributes: node.attributes as never })
  let worst = 0
  let k = 0
  for (const [i, name] of node.outputs.entries()) {
    if (name === '') continue
    const value = made[i] as Value
    b.graph.outputs = [value]
    worst = Math.max(worst, difference(array(await output(k++)), runGraph(b.graph, values)[0]))
  }
  return worst
}

describe.skipIf(!casesPresent)('an operator that is read as several others', () => {
  it("gives what the ONNX project's own cases expect", async () => {
    const seen = new Map<string, number>()
    for await (const example of conformanceCases()) {
      const { nodes } = example.model.graph
      if (nodes.length !== 1 || !Object.hasOwn(compositions, nodes[0].op)) continue
      const refused = /sequence_lens|seq_len/.test(example.name) || nodes[0].inputs[4]?.includes('seq')
      if (refused) continue
      seen.set(nodes[0].op, (seen.get(nodes[0].op) ?? 0) + 1)
      expect({ case: example.name, close: await differenceOf(example).then((d) => (d < 1e-5 ? true : d)) }).toEqual({
        case: example.name,
        close: true,
      })
    }
    expect([...seen.keys()].sort()).toEqual(Object.keys(compositions).sort())
  })
})
