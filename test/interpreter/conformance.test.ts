import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { evaluate, interpretedOperators, type NdArray } from '#signstep/interpreter/index.js'
import { decodeModel, dtypeOf, type OnnxModel } from '#signstep/onnx/index.js'
import { numbersOf, type Tensor } from '#signstep/tensor/index.js'
import { root } from '../support/cli.js'
import { readTarGz } from '../support/tar.js'

const archive = join(root, '../shared/models/onnx-conformance/onnx_node_tests.tar.gz')
const present = existsSync(archive)
if (!present) console.warn('skipped: the ONNX conformance cases are not beside the checkout')

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

const varint = (n: number): number[] => (n < 128 ? [n] : [(n % 128) + 128, ...varint(Math.floor(n / 128))])
const field = (number: number, body: Uint8Array): Buffer =>
  Buffer.concat([Buffer.from([number * 8 + 2, ...varint(body.length)]), body])

/** A .pb file holds one TensorProto: read as the only initialiser of a model made around it. */
async function readTensor(bytes: Buffer): Promise<Tensor> {
  const name = Buffer.from('t')
  const graph = Buffer.concat([field(5, Buffer.concat([bytes, field(8, name)])), field(12, field(1, name))])
  const model = Buffer.concat([Buffer.from([8, 10]), field(7, graph), field(8, Buffer.from([16, 26]))])
  const { graph: decoded } = await decodeModel(model, { name: 'tensor' })
  return [...decoded.initialisers.values()][0]
}

const ndArray = (tensor: Tensor): NdArray => ({ dtype: tensor.dtype, shape: tensor.shape, data: numbersOf(tensor) })

async function run(model: OnnxModel, file: (name: string) => Buffer | undefined): Promise<string | undefined> {
  const { graph } = model
  const values = new Map<string, NdArray>()
  for (const [name, tensor] of graph.initialisers) values.set(name, ndArray(tensor))
  for (const [i, { name }] of graph.inputs.entries()) {
    const bytes = file(`input_${i}.pb`)
    if (bytes) values.set(name, ndArray(await readTensor(bytes)))
  }
  for (const node of graph.nodes) {
    const attributes =
      node.op === 'Cast' ? { ...node.attributes, to: dtypeOf(node.attributes.to as number) } : node.attributes
    const inputs = node.inputs.map((name) => (name === '' ? undefined : values.get(name)))
    for (const [i, result] of evaluate(node.op, attributes, inputs, node.outputs.length).entries())
      values.set(node.outputs[i], result)
  }
  for (const [i, { name }] of graph.outputs.entries()) {
    const [found, wanted] = [values.get(name), ndArray(await readTensor(file(`output_${i}.pb`) as Buffer))]
    if (String(found?.shape) !== String(wanted.shape)) return `shape ${found?.shape}, not ${wanted.shape}`
    for (const [k, want] of wanted.data.entries()) {
      const value = found?.data[k] ?? Number.NaN
      if (!Object.is(value, want) && value !== want && !(Math.abs(value - want) <= 1e-4 + 1e-3 * Math.abs(want)))
        return `element ${k} is ${value}, not ${want}`
    }
  }
}

describe.skipIf(!present)("the ONNX project's own cases", () => {
  it('come out as expected for every operator the interpreter knows', async () => {
    const files = readTarGz(archive)
    const failures: string[] = []
    let passed = 0
    for (const [path, bytes] of files) {
      const name = /([^/]+)\/model\.onnx$/.exec(path)?.[1]
      if (name === undefined || exceptions.has(name)) continue
      // The reader has its own tests; what it refuses (strings, sequences, float8) is no matter of this one.
      const model = await decodeModel(Buffer.from(bytes), { name }).catch(() => undefined)
      if (
        model === undefined ||
        model.graph.nodes.some(({ op, domain }) => domain !== '' || !interpretedOperators.includes(op))
      )
        continue
      const folder = path.slice(0, -'model.onnx'.length)
      const failure = await run(model, (file) => files.get(`${folder}test_data_set_0/${file}`)).catch(
        (error: Error) => error.message,
      )
      if (failure === undefined) passed++
      else failures.push(`${name}: ${failure}`)
    }
    expect(failures).toEqual([])
    expect(passed).toBeGreaterThan(1090)
  })
})
