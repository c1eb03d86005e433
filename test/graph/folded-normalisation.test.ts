import { expect, it } from 'vitest'
import { canonicalise, Graph, GraphBuilder, interpret, N } from '#signstep/graph/index.js'
import { float32Tensor } from '#signstep/tensor/index.js'
import { randomArray, randomNumbers } from '../support/random.js'

/** LayerNormalization with scale and bias, read by two products. */
function model(seed: number): Graph {
  const random = randomNumbers(seed)
  const weights = (shape: readonly number[]) => float32Tensor(shape, randomArray(random, shape).data)
  const b = new GraphBuilder(new Graph('m'))
  const x = b.input('x', 'float32', [N, 4, 6])
  const norm = b.emit('LayerNormalization', [x, b.parameter(weights([6]), 'g'), b.parameter(weights([6]), 'b')], {
    epsilon: 1e-5,
  })
  const [p, q] = [5, 3].map((columns, i) => b.matMul(norm, b.parameter(weights([6, columns]), `w${i}`)))
  b.graph.outputs.push(b.add(p, b.parameter(weights([5]), 'bias')), q)
  return b.graph
}

it('folds scale and bias of a LayerNormalization into the products that read it', () => {
  const graph = model(1)
  const folded = canonicalise(graph, { keepParameters: false })
  const scales = folded.nodes
    .filter(({ op }) => op === 'LayerNormalization')
    .map(({ inputs }) => inputs[1]?.constant?.data)
  expect(scales).toEqual([new Float32Array(6).fill(1)])
  const feeds = new Map([['x', randomArray(randomNumbers(2), [3, 4, 6])]])
  const [before, after] = [interpret(graph, feeds), interpret(folded, feeds)]
  for (const [o, { data }] of before.entries())
    for (const [i, value] of data.entries()) expect(after[o].data[i]).toBeCloseTo(value, 5)
})

it('leaves the weights alone where their gradients will be asked for', () => {
  const kept = canonicalise(model(1), { keepParameters: true })
  expect(kept.nodes.find(({ op }) => op === 'LayerNormalization')?.inputs[1]?.name).toBe('g')
})
