import { readFileSync } from 'node:fs'
import { InferenceSession, Tensor } from 'onnxruntime-node'
import { describe, expect, it } from 'vitest'
import { decodeModel, encodeModel } from '#signstep/onnx/index.js'
import { fixture } from './support/fixtures.js'

interface Stored {
  readonly dtype: 'float32' | 'int64'
  readonly shape: number[]
  readonly data: string
}

interface Case {
  readonly name: string
  readonly opset: number
  readonly model: string
  readonly inputs: Record<string, Stored>
  readonly expected: Record<string, Stored>
}

// Made by scripts/golden/onnx-upgrades.py: what ONNX Runtime computes for the model as it is, in its own opset.
const cases: Case[] = JSON.parse(readFileSync(fixture('upgrades.json'), 'utf8'))

function restore({ dtype, data }: Stored): Float32Array | BigInt64Array {
  const { buffer } = Uint8Array.from(Buffer.from(data, 'base64'))
  return dtype === 'float32' ? new Float32Array(buffer) : new BigInt64Array(buffer)
}

describe('a model of an old opset computes the same in the newest', () => {
  it.each(cases)('$name', async ({ model, opset, inputs, expected }) => {
    const decoded = await decodeModel(Buffer.from(model, 'base64'))
    expect(decoded.opset).toBe(opset)

    const session = await InferenceSession.create(encodeModel(decoded), { logSeverityLevel: 3, intraOpNumThreads: 1 })
    const feeds = Object.fromEntries(
      Object.entries(inputs).map(([name, stored]) => [name, new Tensor(stored.dtype, restore(stored), stored.shape)]),
    )
    const results = await session.run(feeds)
    for (const [name, stored] of Object.entries(expected)) {
      expect(results[name].dims).toEqual(stored.shape)
      const wanted = restore(stored)
      const got = results[name].data as typeof wanted
      for (let i = 0; i < wanted.length; i++) expect(Number(got[i])).toBeCloseTo(Number(wanted[i]), 5)
    }
  })
})

describe('the form of an upgraded node', () => {
  const named = async (name: string) => {
    const found = cases.find((candidate) => candidate.name === name)
    const { graph } = await decodeModel(Buffer.from(found!.model, 'base64'))
    return graph.nodes
  }

  it('is a plain Softmax where the old one worked on the last axis', async () => {
    const nodes = await named('Softmax of opset 9 over axis 3')
    expect(nodes.map(({ op, attributes }) => ({ op, attributes }))).toEqual([
      { op: 'Softmax', attributes: { axis: -1 } },
    ])
  })

  it('writes out the flattening of an old Softmax over other axes', async () => {
    const nodes = await named('Softmax of opset 9 over axis 1')
    expect(nodes.map(({ op }) => op)).toEqual(['Shape', 'Flatten', 'Softmax', 'Reshape'])
  })

  it('leaves an unbounded Clip unbounded', async () => {
    const [clip] = await named('Clip without bounds')
    expect(clip.inputs).toEqual(['x', '', ''])
  })

  it('makes the bound of a float16 tensor float16', async () => {
    const nodes = await named('Clip of a float16 tensor')
    expect(nodes.map(({ op }) => op)).toEqual(['Cast', 'CastLike', 'CastLike', 'Clip', 'Cast'])
  })

  it('keeps the names of nodes and of results', async () => {
    const nodes = await named('Softmax of opset 9 over axis 1')
    const last = nodes.at(-1)!
    expect([last.name, ...last.outputs]).toEqual(['softmax_y', 'y'])
  })
})
