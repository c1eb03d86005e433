import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { ModelError } from '#signstep/errors/index.js'
import { decodeModel, readModel } from '#signstep/onnx/index.js'
import { attributeProto, floatTensor, graphProto, modelBytes, nodeProto, tensorProto } from './support/proto.js'

const failureOf = async (bytes: Uint8Array): Promise<unknown> =>
  decodeModel(bytes, { name: 'm.onnx' }).then(
    () => undefined,
    (error) => error,
  )

/** A small generator, so that a failure can be had again. */
function* random(seed: number): Generator<number> {
  for (let state = seed; ; ) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    yield state >>> 8
  }
}

const branch = graphProto({ input: [], output: [{ name: 'b' }], node: [nodeProto('Neg', ['x'], ['b'])] })
const sound = modelBytes(
  {
    node: [
      nodeProto(
        'Constant',
        [],
        ['c'],
        [attributeProto('value', { type: 4, t: floatTensor('', [40], new Array(40).fill(1)) })],
      ),
      nodeProto(
        'If',
        ['k'],
        ['t'],
        [attributeProto('then_branch', { type: 5, g: branch }), attributeProto('else_branch', { type: 5, g: branch })],
      ),
      nodeProto('Softmax', ['t'], ['s'], [attributeProto('axis', { type: 2, i: 1 })]),
      nodeProto('Squeeze', ['s'], ['y'], [attributeProto('axes', { type: 7, ints: [0, 1] })]),
    ],
    initializer: [
      floatTensor('w', [60], new Array(60).fill(0.5)),
      tensorProto('i', { dataType: 7, dims: [3], int64Data: [1n, -1n, 2n ** 62n] }),
      tensorProto('k', { dataType: 9, dims: [], int32Data: [1] }),
    ],
  },
  { opset: 11 },
)

describe('a damaged file', () => {
  it('is refused with its name and the byte, wherever it was cut', async () => {
    expect(await failureOf(sound)).toBeUndefined()
    let refused = 0
    for (let cut = 0; cut < 200; cut++) {
      const failure = await failureOf(sound.subarray(0, Math.floor((sound.length * cut) / 200)))
      if (failure === undefined) continue // cut between two fields of the model: what is left is a whole message
      expect(failure).toBeInstanceOf(ModelError)
      expect((failure as ModelError).message).toContain('m.onnx')
      refused++
    }
    expect(refused).toBeGreaterThan(190)
    expect(((await failureOf(sound.subarray(0, 300))) as Error).message).toMatch(/at byte \d+/)
  })

  it('never fails in another way, whichever bytes are wrong', async () => {
    const numbers = random(1)
    for (let trial = 0; trial < 3000; trial++) {
      const bytes = sound.slice()
      for (let i = 0; i < 1 + (trial % 4); i++) bytes[numbers.next().value % bytes.length] = numbers.next().value & 0xff
      const failure = await failureOf(bytes)
      if (failure !== undefined) expect(failure).toBeInstanceOf(ModelError)
    }
  })

  it('never fails in another way on random bytes', async () => {
    const numbers = random(2)
    for (let trial = 0; trial < 2000; trial++) {
      const bytes = Uint8Array.from({ length: trial % 300 }, () => numbers.next().value & 0xff)
      expect(await failureOf(bytes)).toBeInstanceOf(ModelError)
    }
  })

  it('is not followed into messages nested without end', async () => {
    let graph = graphProto({ node: [nodeProto('Neg', ['x'], ['y'])] })
    for (let depth = 0; depth < 100; depth++)
      graph = graphProto({
        node: [nodeProto('If', ['x'], ['y'], [attributeProto('then_branch', { type: 5, g: graph })])],
      })
    expect(await failureOf(modelBytes(graph))).toMatchObject({ code: 'MODEL_INVALID' })
  })
})

describe('a file that cannot be taken', () => {
  let folder: string
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'signstep-onnx-'))
    writeFileSync(join(folder, 'empty.onnx'), '')
    writeFileSync(join(folder, 'text.onnx'), 'This is not a model.\n')
    mkdirSync(join(folder, 'folder.onnx'))
  })
  afterAll(() => rmSync(folder, { recursive: true }))

  it.each([
    ['absent.onnx', 'MODEL_NOT_FOUND', 'no such file'],
    ['empty.onnx/m.onnx', 'MODEL_NOT_FOUND', 'no such file'],
    ['empty.onnx', 'MODEL_INVALID', 'empty'],
    ['folder.onnx', 'MODEL_INVALID', 'folder'],
    ['text.onnx', 'MODEL_INVALID', 'an ONNX model'],
  ])('%s is refused', async (name, code, said) => {
    const failure = await readModel(join(folder, name)).catch((error) => error)
    expect(failure).toBeInstanceOf(ModelError)
    expect(failure.code).toBe(code)
    expect(failure.message).toContain(name)
    expect(failure.message).toContain(said)
  })

  const relu = nodeProto('Relu', ['x'], ['y'])
  const raw = new Uint8Array(8)
  it.each<[string, Uint8Array, string, string]>([
    ['no graph', modelBytes(undefined), 'MODEL_INVALID', 'no graph'],
    ['an opset older than 7', modelBytes({ node: [relu] }, { opset: 6 }), 'MODEL_UNSUPPORTED', 'found 6'],
    ['an opset newer than 26', modelBytes({ node: [relu] }, { opset: 27 }), 'MODEL_UNSUPPORTED', 'found 27'],
    [
      'raw data of the wrong length',
      modelBytes({ node: [relu], initializer: [tensorProto('w', { dataType: 1, dims: [3], rawData: raw })] }),
      'MODEL_INVALID',
      'expected 12 bytes',
    ],
    [
      'a tensor larger than the file',
      modelBytes({ node: [relu], initializer: [tensorProto('w', { dataType: 7, dims: [2 ** 50] })] }),
      'MODEL_INVALID',
      "'w'",
    ],
    [
      'dimensions whose product overflows',
      modelBytes({ node: [relu], initializer: [tensorProto('w', { dataType: 1, dims: [2 ** 40, 2 ** 40] })] }),
      'MODEL_INVALID',
      'dimensions',
    ],
    [
      'a negative dimension',
      modelBytes({ node: [relu], initializer: [tensorProto('w', { dataType: 1, dims: [-1] })] }),
      'MODEL_INVALID',
      'dimensions',
    ],
    [
      'a packed 4-bit tensor',
      modelBytes({ node: [relu], initializer: [tensorProto('w', { dataType: 22, dims: [2], rawData: raw })] }),
      'MODEL_UNSUPPORTED',
      'int4',
    ],
    [
      'a constant of strings',
      modelBytes({ node: [nodeProto('Constant', [], ['y'], [attributeProto('value_string', { type: 3, s: raw })])] }),
      'MODEL_UNSUPPORTED',
      'value_string',
    ],
    ['an input that nothing makes', modelBytes({ node: [nodeProto('Relu', ['z'], ['y'])] }), 'MODEL_INVALID', "'z'"],
    ['an output that nothing makes', modelBytes({ node: [] }), 'MODEL_INVALID', "'y'"],
    [
      'a value made twice',
      modelBytes({ node: [relu, nodeProto('Neg', ['x'], ['y'])] }),
      'MODEL_INVALID',
      'second time',
    ],
    [
      'a loop of nodes',
      modelBytes({ node: [nodeProto('Add', ['x', 'y'], ['a']), nodeProto('Relu', ['a'], ['y'])] }),
      'MODEL_INVALID',
      'its own result',
    ],
    [
      'BatchNormalization with statistics per activation',
      modelBytes(
        { node: [nodeProto('BatchNormalization', ['x'], ['y'], [attributeProto('spatial', { type: 2, i: 0 })])] },
        { opset: 7 },
      ),
      'MODEL_UNSUPPORTED',
      'spatial',
    ],
    [
      'TopK without its k',
      modelBytes({ node: [nodeProto('TopK', ['x'], ['y', 'i'])] }, { opset: 9 }),
      'MODEL_INVALID',
      "'k'",
    ],
    [
      'an axis that is no integer',
      modelBytes(
        { node: [nodeProto('Squeeze', ['x'], ['y'], [attributeProto('axes', { type: 6, floats: [0.5] })])] },
        { opset: 9 },
      ),
      'MODEL_INVALID',
      'integers',
    ],
  ])('%s is refused', async (_, bytes, code, said) => {
    const failure = (await failureOf(bytes)) as ModelError
    expect(failure).toBeInstanceOf(ModelError)
    expect(failure.code).toBe(code)
    expect(failure.message).toContain('m.onnx')
    expect(failure.message).toContain(said)
  })
})
