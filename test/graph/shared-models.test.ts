import { existsSync, readdirSync } from 'node:fs'
import { basename, join } from 'node:path'
import ort from 'onnxruntime-node'
import { describe, expect, it } from 'vitest'
import { exportModel, importModel, specialise } from '#signstep/graph/index.js'
import { encodeModel, readModel } from '#signstep/onnx/index.js'
import { root } from '../support/cli.js'

const folder = join(root, '../shared/models')
const files = ['golden', 'exports', 'trained']
  .filter((part) => existsSync(join(folder, part)))
  .flatMap((part) => readdirSync(join(folder, part)).map((name) => join(part, name)))
  .filter((name) => name.endsWith('.onnx'))
if (files.length === 0) console.warn('skipped: the shared models are not beside the checkout')

const options = { logSeverityLevel: 3, intraOpNumThreads: 1 } as const

async function run(session: ort.InferenceSession, images: Float32Array, shape: readonly number[], output: string) {
  const { [output]: result } = await session.run({ [session.inputNames[0]]: new ort.Tensor('float32', images, shape) })
  return Array.from(result.data as Float32Array)
}

describe.skipIf(files.length === 0).each(files)('%s', (name) => {
  it('has the logits of the file after import, export and at another batch than the file fixes', async () => {
    const path = join(folder, name)
    const inputSize = basename(name).startsWith('squeezenet') ? ([227, 227] as const) : undefined
    const { graph, logits, rebatched } = importModel(await readModel(path), { inputSize })
    const image = graph.inputs[0].shape.slice(1) as number[]
    const size = image.reduce((a, b) => a * b)
    const batch = rebatched?.original ?? 3
    const batches = rebatched === undefined ? 1 : 2
    const images = Float32Array.from({ length: batches * batch * size }, (_, i) => Math.sin(i * 7.13 + i * i * 0.001))
    const [original, imported] = await Promise.all(
      [path, encodeModel(exportModel(graph))].map((model) => ort.InferenceSession.create(model as string, options)),
    )
    const found = await run(imported, images, [batches * batch, ...image], imported.outputNames[0])
    for (let i = 0; i < batches; i++) {
      const part = images.slice(i * batch * size, (i + 1) * batch * size)
      const wanted = await run(original, part, [batch, ...image], logits)
      for (const [k, value] of wanted.entries())
        expect(Math.abs(found[i * wanted.length + k] - value)).toBeLessThan(1e-4)
    }
    await Promise.all([original.release(), imported.release()])
  })

  it('holds no shape arithmetic but what N needs, and none at all at a fixed batch', async () => {
    const inputSize = basename(name).startsWith('squeezenet') ? ([227, 227] as const) : undefined
    const { graph } = importModel(await readModel(join(folder, name)), { inputSize })
    const integers = (nodes: typeof graph.nodes) =>
      nodes.filter(({ outputs }) => outputs[0].dtype === 'int64').map(({ op }) => op)
    // Where a runtime needs N: its size once, then at most a handful of shapes made of it.
    expect(integers(graph.nodes).filter((op) => op === 'Shape').length).toBeLessThan(2)
    expect(integers(graph.nodes).length).toBeLessThan(12)
    const fixed = specialise(graph, 3)
    expect(integers(fixed.nodes)).toEqual([])
    expect(fixed.outputs[0].shape[0]).toBe(3)
  })
})
