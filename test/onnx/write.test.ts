import { existsSync, mkdtempSync, readdirSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { decodeModel, encodeModel, type OnnxModel, OPSET, readModel, writeModel } from '#signstep/onnx/index.js'
import { float32Tensor, int64Tensor, tensorFromNumbers } from '#signstep/tensor/index.js'
import { hasSharedModels, sharedModelFiles } from './support/fixtures.js'

const bytesOf = ({ buffer, byteOffset, byteLength }: ArrayBufferView): Buffer =>
  Buffer.from(buffer, byteOffset, byteLength)

const value = { name: 'x', dtype: 'float32', shape: ['N', 3, ''] } as const
const model: OnnxModel = {
  producer: 'signstep',
  irVersion: 13,
  opset: OPSET,
  metadata: { task: 'test' },
  graph: {
    name: 'g',
    inputs: [value, { name: 'c', dtype: 'bool', shape: [] }],
    outputs: [{ name: 'y', dtype: 'float32', shape: undefined }],
    initialisers: new Map([
      [
        'w',
        float32Tensor(
          [2, 1000],
          Float32Array.from({ length: 2000 }, (_, i) => i / 7),
        ),
      ],
      ['h', tensorFromNumbers('float16', [2], [0.5, 1])],
      ['b', tensorFromNumbers('bool', [2], [1, 0])],
      ['i', int64Tensor([-(2 ** 63), 2 ** 63])],
      ['none', float32Tensor([0], [])],
    ]),
    nodes: [
      {
        name: 'a',
        op: 'LeakyRelu',
        domain: '',
        inputs: ['x', ''],
        outputs: ['a'],
        attributes: { alpha: 1, axis: -1, mode: 'é', list: [1, 2], floats: [0.5, 1], names: ['p', 'q'], empty: [] },
      },
      {
        name: 'b',
        op: 'If',
        domain: 'my.own',
        inputs: ['c'],
        outputs: ['y'],
        attributes: {
          value: int64Tensor([3]),
          then_branch: {
            name: 'inner',
            inputs: [],
            outputs: [{ name: 'r', dtype: undefined, shape: undefined }],
            initialisers: new Map(),
            nodes: [{ name: 'n', op: 'Neg', domain: '', inputs: ['a'], outputs: ['r'], attributes: {} }],
          },
        },
      },
    ],
  },
}

describe('a written model', () => {
  let folder: string
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'signstep-onnx-'))
  })
  afterAll(() => rmSync(folder, { recursive: true }))

  it('is read back as it was', async () => {
    expect(await decodeModel(encodeModel(model))).toEqual(model)
  })

  it('writes an attribute that the standard has as a float as one, even where its value is whole', () => {
    // AttributeProto: name (1) "alpha", f (2) 1.0, type (20) FLOAT
    const attribute = [0x0a, 5, ...Buffer.from('alpha'), 0x15, 0, 0, 0x80, 0x3f, 0xa0, 0x01, 0x01]
    expect(Buffer.from(encodeModel(model)).includes(Buffer.from(attribute))).toBe(true)
  })

  it('has its weights inside while they are small, and leaves no other file', async () => {
    const path = join(folder, 'small.onnx')
    await writeModel(path, model)
    expect(readdirSync(folder)).toEqual(['small.onnx'])
    expect(await readModel(path)).toEqual(model)
  })

  it('has large weights in a file beside it, at multiples of a page', async () => {
    const path = join(folder, 'large.onnx')
    await writeModel(path, model, { externalAbove: 4096 })
    expect(statSync(`${path}.data`).size).toBe(8000)
    expect(statSync(path).size).toBeLessThan(1500)
    expect(await readModel(path)).toEqual(model)
  })

  it('replaces an older one as a whole', async () => {
    const path = join(folder, 'replaced.onnx')
    await writeModel(path, model)
    await writeModel(path, { ...model, producer: 'later' })
    expect((await readModel(path)).producer).toBe('later')
  })

  it('is reported where it cannot be written, and leaves nothing', async () => {
    const path = join(folder, 'absent', 'm.onnx')
    await expect(writeModel(path, model)).rejects.toMatchObject({ code: 'OUTPUT_FAILED' })
    expect(existsSync(join(folder, 'absent'))).toBe(false)
  })
})

describe.skipIf(!hasSharedModels)('real models (skipped where ../shared/models is absent)', () => {
  it.each(sharedModelFiles())('%s is written and read back the same', async (path) => {
    const read = await readModel(path)
    const { graph } = await decodeModel(encodeModel(read))
    expect(graph.nodes).toEqual(read.graph.nodes)
    expect([graph.inputs, graph.outputs]).toEqual([read.graph.inputs, read.graph.outputs])
    expect([...graph.initialisers.keys()]).toEqual([...read.graph.initialisers.keys()])
    for (const [name, { dtype, shape, data }] of graph.initialisers) {
      const before = read.graph.initialisers.get(name)!
      expect([dtype, shape]).toEqual([before.dtype, before.shape])
      expect(bytesOf(data).equals(bytesOf(before.data))).toBe(true)
    }
  })
})
