import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { decodeModel, readModel } from '#signstep/onnx/index.js'
import { float32Tensor } from '#signstep/tensor/index.js'
import { attributeProto, modelBytes, nodeProto, tensorProto } from './support/proto.js'

describe('external data', () => {
  let folder: string
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'signstep-onnx-'))
    writeFileSync(join(folder, 'w.data'), new Uint8Array(Float32Array.of(0, 1, 2, 3).buffer))
  })
  afterAll(() => rmSync(folder, { recursive: true }))

  const entries = (record: Record<string, string>) => Object.entries(record).map(([key, value]) => ({ key, value }))
  const external = (name: string, dims: number[], record: Record<string, string>) =>
    tensorProto(name, { dataType: 1, dims, dataLocation: 1, externalData: entries(record) })

  async function read(...tensors: ReturnType<typeof external>[]) {
    const path = join(folder, 'model.onnx')
    writeFileSync(path, modelBytes({ node: [nodeProto('Relu', ['x'], ['y'])], initializer: tensors }))
    return (await readModel(path)).graph.initialisers
  }

  it('is read at its offset and length', async () => {
    const weights = await read(
      external('all', [2, 2], { location: 'w.data' }),
      external('part', [2], { location: './w.data', offset: '4', length: '8' }),
    )
    expect(weights.get('all')).toEqual(float32Tensor([2, 2], [0, 1, 2, 3]))
    expect(weights.get('part')).toEqual(float32Tensor([2], [1, 2]))
  })

  it('is read for Constant nodes too', async () => {
    const t = external('', [1], { location: 'w.data', offset: '12' })
    const node = [nodeProto('Constant', [], ['c'], [attributeProto('value', { type: 4, t })])]
    const path = join(folder, 'constant.onnx')
    writeFileSync(path, modelBytes({ node, output: [{ name: 'c' }] }))
    expect((await readModel(path)).graph.initialisers.get('c')).toEqual(float32Tensor([1], [3]))
  })

  it('is shared by tensors that name the same stretch', async () => {
    const weights = await read(
      external('a', [4], { location: 'w.data' }),
      external('b', [2, 2], { location: 'w.data' }),
    )
    expect(weights.get('a')!.data.buffer).toBe(weights.get('b')!.data.buffer)
  })

  it.each([
    ['a missing file', { location: 'absent.data' }, 'absent.data'],
    ['an offset past the end', { location: 'w.data', offset: '8' }, '24 bytes'],
    ['a stated length of another size', { location: 'w.data', length: '12' }, 'found 12'],
    ['an offset that is no number', { location: 'w.data', offset: 'x' }, 'offset'],
    ['a negative offset', { location: 'w.data', offset: '-4' }, 'offset'],
    ['a folder', { location: '.' }, 'no file'],
    ['no location', { offset: '0' }, 'folder'],
    ['a way up', { location: '../w.data' }, 'folder'],
    ['a way up from a folder inside', { location: 'a/../../w.data' }, 'folder'],
    ['a way up in the style of Windows', { location: 'a\\..\\..\\w.data' }, 'folder'],
    ['an absolute path', { location: '/etc/hostname' }, 'folder'],
    ['an absolute path of Windows', { location: 'C:\\w.data' }, 'folder'],
  ])('is refused for %s, naming the tensor', async (_, record, said) => {
    const failure = await read(external('weight', [4], record as Record<string, string>)).catch((error) => error)
    expect(failure.code).toBe('MODEL_EXTERNAL_DATA')
    expect(failure.message).toContain("'weight'")
    expect(failure.message).toContain(said)
  })

  it('allocates nothing by what a tensor claims', async () => {
    const failure = await read(external('weight', [2 ** 40], { location: 'w.data' })).catch((error) => error)
    expect(failure.code).toBe('MODEL_EXTERNAL_DATA')
  })

  it('cannot be had for a model that came as bytes', async () => {
    const bytes = modelBytes({ node: [], initializer: [external('weight', [4], { location: 'w.data' })] })
    await expect(decodeModel(bytes)).rejects.toMatchObject({ code: 'MODEL_EXTERNAL_DATA' })
  })
})
