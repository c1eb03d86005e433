import ort from 'onnxruntime-node'
import { describe, expect, it } from 'vitest'
import { exportModel, Graph, GraphBuilder, N, type Value } from '#signstep/graph/index.js'
import { decodeModel, encodeModel } from '#signstep/onnx/index.js'
import { float32Tensor } from '#signstep/tensor/index.js'
import { difference, randomArray, runGraph } from './run-graph.js'

function graphOf(build: (b: GraphBuilder, x: Value) => readonly Value[]): Graph {
  const b = new GraphBuilder(new Graph('test'))
  b.graph.outputs.push(...build(b, b.input('x', 'float32', [N, 3, 4])))
  return b.graph
}

/** Loads the written file in ONNX Runtime and compares it with the interpreter at two batches. */
async function checkInRuntime(graph: Graph): Promise<void> {
  const session = await ort.InferenceSession.create(encodeModel(exportModel(graph)), { logSeverityLevel: 3 })
  for (const batch of [1, 3]) {
    const x = randomArray([batch, 3, 4])
    const found = await session.run({ x: new ort.Tensor('float32', Float32Array.from(x.data), [batch, 3, 4]) })
    for (const [i, wanted] of runGraph(graph, [x]).entries()) {
      const { dims, data } = found[session.outputNames[i]]
      const got = { ...wanted, shape: dims, data: Float64Array.from(data as Float32Array, Number) }
      expect(difference(got, wanted)).toBeLessThan(1e-5)
    }
  }
  await session.release()
}

describe('an exported graph', () => {
  it('runs in ONNX Runtime at any batch, shapes computed from N where they must be', async () => {
    const graph = graphOf((b, x) => {
      const rows = b.expand(b.parameter(float32Tensor([1, 1, 4], [1, 2, 3, 4]), 'token'), [N, 1, 4])
      return [b.reshape(b.exp(b.concat([rows, x], 1)), [{ factor: 4 }, 4])]
    })
    await checkInRuntime(graph)
    const { graph: written } = await decodeModel(Buffer.from(encodeModel(exportModel(graph))), { name: 'test' })
    expect(written.inputs[0].shape).toEqual(['N', 3, 4])
    expect(written.outputs[0].shape?.[1]).toBe(4)
    expect([...written.initialisers.keys()]).toContain('token')
  })

  it('shares weights instead of copying them', () => {
    const weight = float32Tensor([4, 4], new Float32Array(16))
    const graph = graphOf((b, x) => [b.matMul(x, b.parameter(weight, 'weight'))])
    expect(exportModel(graph).graph.initialisers.get('weight')?.data).toBe(weight.data)
  })

  it('gives every value a name of its own; inputs and outputs keep theirs', async () => {
    const graph = graphOf((b, x) => {
      const [first, second] = [b.exp(x), b.neg(x)]
      first.name = 'same'
      second.name = 'same'
      const sum = b.add(first, second)
      sum.name = 'same'
      return [sum]
    })
    const { graph: written } = exportModel(graph)
    const made = written.nodes.flatMap(({ outputs }) => outputs)
    expect(new Set(made).size).toBe(3)
    expect(written.outputs[0].name).toBe('same')
    await checkInRuntime(graph)
  })

  it('passes through outputs that are inputs or constants', async () => {
    const graph = graphOf((b, x) => {
      const constant = b.constant(float32Tensor([2], [1, 2]), 'fixed')
      return [b.exp(x), constant]
    })
    await checkInRuntime(graph)
    await checkInRuntime(graphOf((_, x) => [x]))
  })

  it('leaves out optional outputs that nobody reads, but not those a node must have', async () => {
    const channels = (value: number) => float32Tensor([3], [value, value, value])
    const graph = graphOf((b, x) => {
      const [scale, shift] = [b.parameter(channels(2), 'scale'), b.parameter(channels(1), 'shift')]
      const statistics = [b.constant(channels(0), 'mean'), b.constant(channels(1), 'variance')]
      const [normal] = b.emitAll('BatchNormalization', [x, scale, shift, ...statistics], { training_mode: 1 }, 3)
      const [largest] = b.emitAll('MaxPool', [normal], { kernel_shape: [2] }, 2)
      return [largest]
    })
    const { nodes } = exportModel(graph).graph
    expect(nodes.map(({ outputs }) => outputs.filter((name) => name !== '').length)).toEqual([3, 1])
  })
})
