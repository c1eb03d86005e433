import { describe, expect, it } from 'vitest'
import { evaluate, interpretedOperators, type NdArray } from '#signstep/interpreter/index.js'
import { dtypeOf } from '#signstep/onnx/index.js'
import { numbersOf, type Tensor } from '#signstep/tensor/index.js'
import { type ConformanceCase, casesPresent, conformanceCases } from '../support/conformance-cases.js'

/** Cases that ask for what a float64 interpreter of inference does not do. */
const exceptions = new Map([
  ['test_cast_FLOAT_to_BFLOAT16', 'rounds to bfloat16'],
  ['test_castlike_FLOAT_to_BFLOAT16', 'rounds to bfloat16'],
  ['test_castlike_FLOAT_to_BFLOAT16_expanded', 'rounds to bfloat16'],
  ['test_training_dropout', 'random'],
  ['test_training_dropout_default', 'random'],
  ['test_training_dropout_default_mask', 'random'],
  ['test_training_dropout_mask', 'random'],
])

const typeAttributes = new Set(['Cast.to', 'EyeLike.dtype'])

const ndArray = (tensor: Tensor): NdArray => ({ dtype: tensor.dtype, shape: tensor.shape, data: numbersOf(tensor) })

async function run({ model, input, output }: ConformanceCase): Promise<string | undefined> {
  const { graph } = model
  const values = new Map<string, NdArray>()
  for (const [name, tensor] of graph.initialisers) values.set(name, ndArray(tensor))
  for (const [i, { name }] of graph.inputs.entries()) {
    const tensor = await input(i)
    if (tensor) values.set(name, ndArray(tensor))
  }
  for (const node of graph.nodes) {
    // The importer turns the codes of element types into names.
    const attributes = Object.fromEntries(
      Object.entries(node.attributes).map(([key, value]) =>
        typeAttributes.has(`${node.op}.${key}`) ? [key, dtypeOf(value as number)] : [key, value],
      ),
    )
    const inputs = node.inputs.map((name) => (name === '' ? undefined : values.get(name)))
    for (const [i, result] of evaluate(node.op, attributes, inputs, node.outputs.length).entries())
      values.set(node.outputs[i], result)
  }
  for (const [i, { name }] of graph.outputs.entries()) {
    const [found, wanted] = [values.get(name), ndArray(await output(i))]
    if (String(found?.shape) !== String(wanted.shape)) return `shape ${found?.shape}, not ${wanted.shape}`
    if (found?.dtype !== wanted.dtype) return `type ${found?.dtype}, not ${wanted.dtype}`
    for (const [k, want] of wanted.data.entries()) {
      const value = found?.data[k] ?? Number.NaN
      if (!Object.is(value, want) && value !== want && !(Math.abs(value - want) <= 1e-5 + 1e-3 * Math.abs(want)))
        return `element ${k} is ${value}, not ${want}`
    }
  }
}

describe.skipIf(!casesPresent)("the ONNX project's own cases", () => {
  it('come out as expected for every operator the interpreter knows', async () => {
    const failures: string[] = []
    let passed = 0
    for await (const example of conformanceCases()) {
      const { name, model } = example
      const known = model.graph.nodes.every(({ op, domain }) => domain === '' && interpretedOperators.includes(op))
      if (!known || exceptions.has(name)) continue
      const failure = await run(example).catch((error: Error) => error.message)
      if (failure === undefined) passed++
      else failures.push(`${name}: ${failure}`)
    }
    expect(failures).toEqual([])
    expect(passed).toBeGreaterThan(1190)
  })
})
