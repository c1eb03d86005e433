import { describe, expect, it } from 'vitest'
import { decodeModel, readModel } from '#signstep/onnx/index.js'
import { type DType, float32Tensor, numbersOf, type Tensor } from '#signstep/tensor/index.js'
import { hasSharedModels, sharedModelFiles } from './support/fixtures.js'
import {
  attributeProto,
  floatTensor,
  graphProto,
  modelBytes,
  nodeProto,
  tensorProto,
  valueProto,
} from './support/proto.js'

const relu = nodeProto('Relu', ['x'], ['y'])

async function initialiser(proto: ReturnType<typeof tensorProto>): Promise<Tensor> {
  const { graph } = await decodeModel(modelBytes({ node: [relu], initializer: [proto] }))
  return graph.initialisers.get(proto.name!)!
}

const bytes = (array: ArrayBufferView): Uint8Array => new Uint8Array(array.buffer, array.byteOffset, array.byteLength)

describe('a model', () => {
  it('is plain data: graph, opset, producer, metadata', async () => {
    const model = await decodeModel(modelBytes({ node: [relu], input: [valueProto('x', 1, ['N', 3])] }))
    expect(model).toMatchObject({ opset: 17, irVersion: 8, producer: 'test 1', metadata: { 'made by': 'hand' } })
    expect(model.graph.inputs).toEqual([{ name: 'x', dtype: 'float32', shape: ['N', 3] }])
    expect(model.graph.nodes).toEqual([
      { name: 'Relu_y', op: 'Relu', domain: '', inputs: ['x'], outputs: ['y'], attributes: {} },
    ])
  })

  it('tells an unknown dimension from an unknown rank and an unknown type', async () => {
    const output = [
      { name: 'y', type: { tensorType: { elemType: 1, shape: { dim: [{}, { dimValue: -1 }] } } } },
      { name: 'x', type: { tensorType: { elemType: 1 } } },
      { name: 'x' },
    ]
    const { graph } = await decodeModel(modelBytes({ node: [relu], output }))
    expect(graph.outputs.map(({ dtype, shape }) => [dtype, shape])).toEqual([
      ['float32', ['', '']],
      ['float32', undefined],
      [undefined, undefined],
    ])
  })

  it('reads attributes of every type', async () => {
    const utf8 = (text: string) => new TextEncoder().encode(text)
    const node = nodeProto(
      'Anything',
      ['x'],
      ['y'],
      [
        attributeProto('f', { type: 1, f: 0.5 }),
        attributeProto('i', { type: 2, i: -3 }),
        attributeProto('zero', { type: 2 }),
        attributeProto('s', { type: 3, s: utf8('ä') }),
        attributeProto('t', { type: 4, t: floatTensor('', [1], [2]) }),
        attributeProto('floats', { type: 6, floats: [0.25, 1] }),
        attributeProto('ints', { type: 7, ints: [2 ** 63, -(2 ** 63)] }),
        attributeProto('strings', { type: 8, strings: [utf8('a'), utf8('b')] }),
        attributeProto('untyped', { ints: [4] }),
      ],
    )
    const { graph } = await decodeModel(modelBytes({ node: [{ ...node, domain: 'my.own' }] }))
    expect(graph.nodes[0].domain).toBe('my.own')
    expect(graph.nodes[0].attributes).toEqual({
      f: 0.5,
      i: -3,
      zero: 0,
      s: 'ä',
      t: float32Tensor([1], [2]),
      floats: [0.25, 1],
      ints: [2 ** 63, -(2 ** 63)],
      strings: ['a', 'b'],
      untyped: [4],
    })
  })

  it('has no initialiser among its inputs, though old files list them there', async () => {
    const graph = { node: [relu], input: [valueProto('w'), valueProto('x')], initializer: [floatTensor('w', [1], [1])] }
    const model = await decodeModel(modelBytes(graph))
    expect(model.graph.inputs.map(({ name }) => name)).toEqual(['x'])
  })

  it('has initialisers in the place of Constant nodes', async () => {
    const constant = (name: string, field: Parameters<typeof attributeProto>[1]) =>
      nodeProto('Constant', [], [name], [attributeProto(name, field)])
    const node = [
      constant('value', { type: 4, t: floatTensor('', [2], [1, 2]) }),
      constant('value_float', { type: 1, f: 0.5 }),
      constant('value_floats', { type: 6, floats: [0.5, 1] }),
      constant('value_int', { type: 2, i: 7 }),
      constant('value_ints', { type: 7, ints: [7, -8] }),
      relu,
    ]
    const { graph } = await decodeModel(modelBytes({ node }))
    expect(graph.nodes.map(({ op }) => op)).toEqual(['Relu'])
    const found = [...graph.initialisers].map(([name, t]) => [name, t.dtype, t.shape, Array.from(numbersOf(t))])
    expect(found).toEqual([
      ['value', 'float32', [2], [1, 2]],
      ['value_float', 'float32', [], [0.5]],
      ['value_floats', 'float32', [2], [0.5, 1]],
      ['value_int', 'int64', [], [7]],
      ['value_ints', 'int64', [2], [7, -8]],
    ])
  })

  it('has its nodes in an order in which they can be run', async () => {
    const node = [nodeProto('Relu', ['b'], ['y']), nodeProto('Neg', ['a'], ['b']), nodeProto('Abs', ['x'], ['a'])]
    const { graph } = await decodeModel(modelBytes({ node }))
    expect(graph.nodes.map(({ op }) => op)).toEqual(['Abs', 'Neg', 'Relu'])
  })

  it('has no two nodes of one name', async () => {
    const node = [
      nodeProto('Relu', ['x'], ['a'], [], { name: 'n' }),
      nodeProto('Relu', ['a'], ['y'], [], { name: 'n' }),
    ]
    const { graph } = await decodeModel(modelBytes({ node }))
    expect(graph.nodes.map(({ name }) => name)).toEqual(['n', 'n_2'])
  })

  it('keeps the graphs inside If, converted too', async () => {
    const branch = (axes: number[]) =>
      graphProto({
        input: [],
        output: [{ name: `s${axes}` }],
        node: [nodeProto('Unsqueeze', ['x'], [`s${axes}`], [attributeProto('axes', { type: 7, ints: axes })])],
      })
    const node = nodeProto(
      'If',
      ['c'],
      ['y'],
      [
        attributeProto('then_branch', { type: 5, g: branch([0]) }),
        attributeProto('else_branch', { type: 5, g: branch([1]) }),
      ],
    )
    const input = [valueProto('x'), valueProto('c', 9, [])]
    const { graph } = await decodeModel(modelBytes({ node: [node], input }, { opset: 11 }))
    expect(graph.nodes[0].attributes.then_branch).toMatchObject({
      outputs: [{ name: 's0', dtype: undefined }],
      nodes: [{ op: 'Unsqueeze', inputs: ['x', expect.any(String)], attributes: {} }],
    })
  })
})

describe('functions of the model', () => {
  const scaled = {
    name: 'Scaled',
    domain: 'my.own',
    input: ['a', 'b'],
    output: ['r'],
    attributeProto: [attributeProto('alpha', { type: 1, f: 0.25 })],
    opsetImport: [{ domain: '', version: 17 }],
    node: [
      nodeProto('LeakyRelu', ['a'], ['t'], [attributeProto('alpha', { type: 1, refAttrName: 'alpha' })]),
      nodeProto('Clip', ['t', 'b'], ['r']),
    ],
  }
  const twice = {
    ...scaled,
    name: 'Twice',
    input: ['a'],
    node: [
      nodeProto('Scaled', ['a'], ['t'], [attributeProto('alpha', { type: 1, f: 0.5 })], { domain: 'my.own' }),
      nodeProto('Scaled', ['t'], ['r'], [], { domain: 'my.own' }),
    ],
  }

  it('are inlined with their attributes, defaults, optional inputs and nested calls', async () => {
    const node = [nodeProto('Twice', ['x'], ['y'], [], { domain: 'my.own' })]
    const { graph } = await decodeModel(modelBytes({ node }, { functions: [scaled, twice] }))
    const [first, firstClip, second, secondClip] = graph.nodes
    expect(graph.nodes.map(({ op }) => op)).toEqual(['LeakyRelu', 'Clip', 'LeakyRelu', 'Clip'])
    expect([first.attributes.alpha, second.attributes.alpha]).toEqual([0.5, 0.25])
    expect(first.inputs).toEqual(['x'])
    expect(firstClip.inputs).toEqual([first.outputs[0], ''])
    expect(second.inputs).toEqual(firstClip.outputs)
    expect(secondClip.outputs).toEqual(['y'])
  })

  it('are refused where they call each other without end', async () => {
    const endless = { ...twice, node: [nodeProto('Twice', ['a'], ['r'], [], { domain: 'my.own' })] }
    const node = [nodeProto('Twice', ['x'], ['y'], [], { domain: 'my.own' })]
    await expect(decodeModel(modelBytes({ node }, { functions: [endless] }))).rejects.toMatchObject({
      code: 'MODEL_INVALID',
    })
  })
})

describe('a tensor', () => {
  // TensorProto.DataType, the bytes of the elements, and what they are.
  const raw: [DType, number, ArrayBufferView, number[]][] = [
    ['float32', 1, Float32Array.of(1.5, -2), [1.5, -2]],
    ['uint8', 2, Uint8Array.of(255, 1), [255, 1]],
    ['int8', 3, Int8Array.of(-128, 1), [-128, 1]],
    ['uint16', 4, Uint16Array.of(65535, 1), [65535, 1]],
    ['int16', 5, Int16Array.of(-32768, 1), [-32768, 1]],
    ['int32', 6, Int32Array.of(-(2 ** 31), 1), [-(2 ** 31), 1]],
    ['int64', 7, BigInt64Array.of(-(2n ** 40n), 1n), [-(2 ** 40), 1]],
    ['bool', 9, Uint8Array.of(1, 0), [1, 0]],
    ['float16', 10, Uint16Array.of(0x3c00, 0xc000), [1, -2]],
    ['float64', 11, Float64Array.of(0.1, -2), [0.1, -2]],
    ['uint32', 12, Uint32Array.of(2 ** 32 - 1, 1), [2 ** 32 - 1, 1]],
    ['uint64', 13, BigUint64Array.of(2n ** 60n, 1n), [2 ** 60, 1]],
    ['bfloat16', 16, Uint16Array.of(0x3f80, 0xc000), [1, -2]],
  ]

  it.each(raw)('of %s is read from raw data', async (dtype, dataType, array, values) => {
    const tensor = await initialiser(tensorProto('w', { dataType, dims: [2], rawData: bytes(array) }))
    expect([tensor.dtype, tensor.shape, Array.from(numbersOf(tensor))]).toEqual([dtype, [2], values])
  })

  const typed: [DType, number, Partial<ReturnType<typeof tensorProto>>, number[]][] = [
    ['float32', 1, { floatData: bytes(Float32Array.of(1.5, -2)) }, [1.5, -2]],
    ['uint8', 2, { int32Data: [255, 1] }, [255, 1]],
    ['int8', 3, { int32Data: [-128, 1] }, [-128, 1]],
    ['int16', 5, { int32Data: [-32768, 1] }, [-32768, 1]],
    ['int32', 6, { int32Data: [-(2 ** 31), 1] }, [-(2 ** 31), 1]],
    ['int64', 7, { int64Data: [2n ** 62n, -1n] }, [2 ** 62, -1]],
    ['bool', 9, { int32Data: [1, 0] }, [1, 0]],
    ['float16', 10, { int32Data: [0x3c00, 0xc000] }, [1, -2]],
    ['float64', 11, { doubleData: bytes(Float64Array.of(0.1, -2)) }, [0.1, -2]],
    ['uint32', 12, { uint64Data: [2n ** 32n - 1n, 1n] }, [2 ** 32 - 1, 1]],
    ['uint64', 13, { uint64Data: [2n ** 60n, 1n] }, [2 ** 60, 1]],
    ['bfloat16', 16, { int32Data: [0x3f80, 0xc000] }, [1, -2]],
  ]

  it.each(typed)('of %s is read from its typed field', async (dtype, dataType, fields, values) => {
    const tensor = await initialiser(tensorProto('w', { dataType, dims: [2], ...fields }))
    expect([tensor.dtype, Array.from(numbersOf(tensor))]).toEqual([dtype, values])
  })

  it('is read from fields that are not packed', async () => {
    // dims: 2 (1: varint, unpacked), data_type: 1, float_data: 1 and -2 (4: fixed32, unpacked), name: w
    const one = [0x25, 0, 0, 0x80, 0x3f]
    const two = [0x25, 0, 0, 0, 0xc0]
    const proto = Uint8Array.from([0x08, 2, 0x10, 1, ...one, ...two, 0x42, 1, 0x77])
    const graph = [0x2a, proto.length, ...proto]
    const model = Uint8Array.from([0x3a, graph.length, ...graph, 0x42, 2, 0x10, 17])
    const { initialisers } = (await decodeModel(model)).graph
    expect(initialisers.get('w')).toEqual(float32Tensor([2], [1, -2]))
  })

  it('may be a scalar or empty', async () => {
    expect(await initialiser(floatTensor('w', [], [3]))).toEqual(float32Tensor([], [3]))
    expect(await initialiser(tensorProto('w', { dataType: 1, dims: [0, 4] }))).toEqual(float32Tensor([0, 4], []))
  })

  it('is a view on the file, wherever it lies in it, if the bytes are given away', async () => {
    for (let pad = 0; pad < 8; pad++) {
      const values = Array.from({ length: 100 }, (_, i) => i / 3)
      const model = modelBytes({ name: 'g'.repeat(pad), node: [relu], initializer: [floatTensor('w', [100], values)] })
      const { initialisers } = (await decodeModel(model, { consume: true })).graph
      expect(initialisers.get('w')).toEqual(float32Tensor([100], values))
      expect(initialisers.get('w')!.data.buffer).toBe(model.buffer)
    }
  })

  it('never changes bytes that were not given away', async () => {
    for (let pad = 0; pad < 4; pad++) {
      const model = modelBytes({ name: 'g'.repeat(pad), node: [relu], initializer: [floatTensor('w', [2], [1, 2])] })
      const before = model.slice()
      const { initialisers } = (await decodeModel(Buffer.from(model.buffer))).graph
      expect(initialisers.get('w')).toEqual(float32Tensor([2], [1, 2]))
      expect(model).toEqual(before)
    }
  })
})

describe.skipIf(!hasSharedModels)('real models (skipped where ../shared/models is absent)', () => {
  it.each(sharedModelFiles())('%s is read', async (path) => {
    const { graph, opset } = await readModel(path)
    expect(graph.nodes.length).toBeGreaterThan(0)
    expect(graph.nodes.some(({ op }) => op === 'Constant')).toBe(false)
    expect(graph.inputs).toHaveLength(1)
    expect(opset).toBeGreaterThanOrEqual(9)
  })
})
