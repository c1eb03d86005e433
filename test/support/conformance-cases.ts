import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { decodeModel, type OnnxModel } from '#signstep/onnx/index.js'
import type { Tensor } from '#signstep/tensor/index.js'
import { root } from './cli.js'
import { readTarGz } from './tar.js'

const archive = join(root, '../shared/models/onnx-conformance/onnx_node_tests.tar.gz')

export const casesPresent = existsSync(archive)
if (!casesPresent) console.warn('skipped: the ONNX conformance cases are not beside the checkout')

/** One of the ONNX project's own node tests. */
export interface ConformanceCase {
  readonly name: string
  readonly model: OnnxModel
  /** Tensors of the model's inputs (undefined where left out) and outputs, in order. */
  input(i: number): Promise<Tensor | undefined>
  output(i: number): Promise<Tensor>
}

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

/** All cases whose model the reader takes; what it refuses (strings, sequences, float8) has tests of its own. */
export async function* conformanceCases(): AsyncGenerator<ConformanceCase> {
  const files = readTarGz(archive)
  for (const [path, bytes] of files) {
    const name = /([^/]+)\/model\.onnx$/.exec(path)?.[1]
    if (name === undefined) continue
    const model = await decodeModel(Buffer.from(bytes), { name }).catch(() => undefined)
    if (model === undefined) continue
    const file = (kind: string, i: number) =>
      files.get(`${path.slice(0, -'model.onnx'.length)}test_data_set_0/${kind}_${i}.pb`)
    yield {
      name,
      model,
      input: async (i) => {
        const content = file('input', i)
        return content && readTensor(content)
      },
      output: async (i) => readTensor(file('output', i) as Buffer),
    }
  }
}
