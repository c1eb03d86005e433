import { describe, expect, it } from 'vitest'
import { importModel } from '#signstep/graph/index.js'
import type { OnnxNode } from '#signstep/onnx/index.js'
import { float32Tensor, int64Tensor, type Tensor } from '#signstep/tensor/index.js'
import { floats, ints, node, onnxModel } from './onnx-model.js'
import { difference, randomArray, runGraph } from './run-graph.js'

/** All rows, once for every sample of the batch an exporter saw. */
function repeated(rows: Tensor, batch: number): Tensor {
  const all = Array.from({ length: batch }).flatMap(() => Array.from(rows.data as Float32Array))
  return float32Tensor([rows.shape[0] * batch, ...rows.shape.slice(1)], all)
}

/**
 * Writes a network as an exporter would at batches 1, 2 and 4, frees each, and checks at batches 1 and 3 that samples do not depend on
 * each other and that the result is what the same network written for that batch gives.
 */
function check(network: (batch: number) => { nodes: OnnxNode[]; initialisers: Record<string, Tensor> }): void {
  for (const original of [1, 2, 4]) {
    const { nodes, initialisers } = network(original)
    const freed = importModel(onnxModel(nodes, { input: [original, 3, 4, 4], initialisers }))
    expect(freed.rebatched).toEqual({ original })
    for (const batch of [1, 3]) {
      const wanted = network(batch)
      const fixed = importModel(onnxModel(wanted.nodes, { input: [batch, 3, 4, 4], initialisers: wanted.initialisers }))
      const x = randomArray([batch, 3, 4, 4])
      const rows = Array.from({ length: batch }, (_, i) => {
        const sample = { ...x, shape: [1, 3, 4, 4], data: x.data.slice(i * 48, (i + 1) * 48) }
        return runGraph(freed.graph, [sample])[0]
      })
      const [all] = runGraph(freed.graph, [x])
      const data = Float64Array.from(rows.flatMap((row) => Array.from(row.data)))
      expect(difference(all, { dtype: 'float32', shape: all.shape, data }), 'samples are independent').toBeLessThan(
        1e-6,
      )
      expect(difference(all, runGraph(fixed.graph, [x])[0])).toBeLessThan(1e-6)
    }
  }
}

describe('a fixed batch is made free', () => {
  it('in reshapes to windows and back', () => {
    check((batch) => ({
      nodes: [
        node('Reshape', 'x grid', 'a'),
        node('Transpose', 'a', 'b', { perm: [0, 2, 4, 1, 3, 5] }),
        node('Reshape', 'b windows', 'c'),
        node('Add', 'c mask', 'd'),
        node('Reshape', 'd flat', 'e'),
        node('MatMul', 'e weight', 'y'),
      ],
      initialisers: {
        grid: ints(batch, 3, 2, 2, 2, 2),
        windows: ints(-1, 12),
        // One row a window, the windows of every sample after each other.
        mask: repeated(floats([4, 12], 5), batch),
        flat: ints(batch, -1),
        weight: floats([48, 5]),
      },
    }))
  })

  it('in a class token written once per sample, and in one added to every sample', () => {
    check((batch) => ({
      nodes: [
        node('Reshape', 'x tokens', 'rows'),
        node('Concat', 'token rows', 'all', { axis: 1 }),
        node('Add', 'all bias', 'sum'),
        node('ReduceSum', 'sum one', 'y', { keepdims: 0 }),
      ],
      initialisers: {
        tokens: ints(batch, 3, 16),
        token: repeated(floats([1, 1, 16]), batch),
        bias: repeated(floats([1, 4, 16], 2), batch),
        one: ints(1),
      },
    }))
  })

  it('in sequence-first attention, where heads are merged with the batch', () => {
    check((batch) => ({
      nodes: [
        node('Reshape', 'x tokens', 'rows'),
        node('Transpose', 'rows', 'sequence', { perm: [1, 0, 2] }),
        node('Reshape', 'sequence heads', 'h'),
        node('Transpose', 'h', 'q', { perm: [1, 0, 2] }),
        node('Transpose', 'h', 'k', { perm: [1, 2, 0] }),
        node('MatMul', 'q k', 'scores'),
        node('Softmax', 'scores', 'weights', { axis: -1 }),
        node('MatMul', 'weights q', 'mixed'),
        node('Transpose', 'mixed', 'back', { perm: [1, 0, 2] }),
        node('Reshape', 'back flat', 'two'),
        node('MatMul', 'two weight', 'projected'),
        node('Reshape', 'projected sequenced', 'again'),
        node('ReduceMean', 'again zero', 'y', { keepdims: 0 }),
      ],
      initialisers: {
        tokens: ints(batch, 3, 16),
        heads: ints(3, batch * 4, 4),
        flat: ints(3 * batch, 16),
        weight: floats([16, 5]),
        sequenced: ints(3, batch, 5),
        zero: ints(0),
      },
    }))
  })

  it('in expansions, and in slices that take the whole batch', () => {
    check((batch) => ({
      nodes: [
        node('ReduceMean', 'x spatial', 'mean'),
        node('Expand', 'mean full', 'wide'),
        node('Sub', 'x wide', 'centred'),
        node('Slice', 'centred zero end zero', 'all'),
        node('Reshape', 'all flat', 'rows'),
        node('MatMul', 'rows weight', 'y'),
      ],
      initialisers: {
        spatial: ints(2, 3),
        full: ints(batch, 3, 4, 4),
        zero: ints(0),
        end: ints(batch),
        flat: ints(batch, 48),
        weight: floats([48, 5]),
      },
    }))
  })

  it('in indices into the flattened batch, as dynamo writes as_strided', () => {
    check((batch) => ({
      nodes: [node('Reshape', 'x flat', 'all'), node('Gather', 'all places', 'y', { axis: 0 })],
      initialisers: {
        flat: ints(-1),
        places: int64Tensor(
          Array.from({ length: batch * 6 }, (_, i) => Math.floor(i / 6) * 48 + (i % 6) * 8),
          [batch, 6],
        ),
      },
    }))
  })

  it('only where samples do not depend on each other', () => {
    const weight = floats([48, 5])
    const refuse = (nodes: OnnxNode[], initialisers: Record<string, Tensor> = {}) =>
      expect(() =>
        importModel(onnxModel(nodes, { input: [2, 3, 4, 4], initialisers: { weight, ...initialisers } }), {
          file: 'm.onnx',
        }),
      )
    const first = [
      node('Gather', 'x zero', 'one', { axis: 0 }),
      node('Reshape', 'one flat', 'rows'),
      node('MatMul', 'rows weight', 'y'),
    ]
    refuse(first, { zero: int64Tensor([0], []), flat: ints(1, 48) }).toThrow(
      /m\.onnx: the fixed batch of 2 could not be made free; .* Export the model with a dynamic batch axis/,
    )
    const half = [
      node('Slice', 'x zero one zero', 'one'),
      node('Flatten', 'one', 'rows'),
      node('MatMul', 'rows weight', 'y'),
    ]
    refuse(half, { zero: ints(0), one: ints(1) }).toThrow('could not be made free')
  })
})
