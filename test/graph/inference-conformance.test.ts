import { describe, expect, it } from 'vitest'
import { type Attributes, canInfer, infer, Value } from '#signstep/graph/index.js'
import { dtypeOf } from '#signstep/onnx/index.js'
import { isFloat, numbersOf, type Tensor } from '#signstep/tensor/index.js'
import { type ConformanceCase, casesPresent, conformanceCases } from '../support/conformance-cases.js'

/** Integers are constants, because shapes may follow from them; floats are known by type and shape alone. */
function toValue(name: string, tensor: Tensor): Value {
  const value = new Value(name, tensor.dtype, tensor.shape)
  if (!isFloat(tensor.dtype) || tensor.data.length <= 8) {
    value.constant = tensor
    value.known = Array.from(numbersOf(tensor))
  }
  return value
}

async function check({ model, input, output }: ConformanceCase): Promise<string | undefined> {
  const { graph } = model
  const values = new Map<string, Value>()
  for (const [name, tensor] of graph.initialisers) values.set(name, toValue(name, tensor))
  for (const [i, { name }] of graph.inputs.entries()) {
    const tensor = await input(i)
    if (tensor) values.set(name, toValue(name, tensor))
  }
  for (const node of graph.nodes) {
    const attributes = Object.fromEntries(
      Object.entries(node.attributes).map(([key, value]) => [
        key,
        (key === 'to' || key === 'dtype') && typeof value === 'number' ? (dtypeOf(value) as string) : value,
      ]),
    ) as Attributes
    const inputs = node.inputs.map((name) => (name === '' ? undefined : values.get(name)))
    for (const [i, { dtype, shape, known }] of infer(node.op, inputs, attributes, node.outputs.length).entries()) {
      const value = new Value(node.outputs[i], dtype, shape)
      value.known = known
      values.set(node.outputs[i], value)
    }
  }
  for (const [i, { name }] of graph.outputs.entries()) {
    const [found, wanted] = [values.get(name), await output(i)]
    if (String(found?.shape) !== String(wanted.shape))
      return `output ${i} has shape ${found?.shape}, not ${wanted.shape}`
    if (found?.dtype !== wanted.dtype) return `output ${i} has type ${found?.dtype}, not ${wanted.dtype}`
    const elements = Array.from(numbersOf(wanted))
    const differs = found.known?.some(
      (at, k) =>
        !Object.is(at, elements[k]) && !(Math.abs((at as number) - elements[k]) <= 1e-3 * Math.abs(elements[k])),
    )
    if (differs) return `output ${i} is known to be ${found.known}, not ${elements}`
  }
}

describe.skipIf(!casesPresent)("shape inference on the ONNX project's own cases", () => {
  it('gives type, shape and, where it says so, the content', async () => {
    const failures: string[] = []
    let passed = 0
    for await (const example of conformanceCases()) {
      const { name, model } = example
      if (!model.graph.nodes.every(({ op, domain }) => domain === '' && canInfer(op))) continue
      const failure = await check(example).catch((error: Error) => error.message)
      if (failure === undefined) passed++
      else failures.push(`${name}: ${failure}`)
    }
    expect(failures).toEqual([])
    expect(passed).toBeGreaterThan(1000)
  })
})
