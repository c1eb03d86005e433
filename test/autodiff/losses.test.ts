import { describe, expect, it } from 'vitest'
import { differentiate, type LossName, lossOf } from '#signstep/autodiff/index.js'
import { Graph, GraphBuilder, interpret } from '#signstep/graph/index.js'
import type { NdArray } from '#signstep/interpreter/index.js'
import { randomArray, randomNumbers } from '../support/random.js'

const classes = 6
const samples = 5
const labels = [0, 5, 2, 3, 3]
const targets = [1, 0, 4, 2, 5]

interface Result {
  readonly loss: number[]
  readonly gradient: number[][]
}

function run(name: LossName, logits: readonly (readonly number[])[], targeted = false): Result {
  const [n, k] = [logits.length, logits[0].length]
  const b = new GraphBuilder(new Graph('loss'))
  const z = b.input('z', 'float32', [n, k])
  const y = b.input('y', 'int64', [n])
  const t = targeted ? b.input('t', 'int64', [n]) : undefined
  const loss = lossOf(b, name, z, y, t)
  const [gradient] = differentiate(b, new Map([[loss, b.full([n], 1)]]), [z])
  if (gradient === undefined) throw new Error('no gradient')
  const numbers = (values: readonly number[]): NdArray => ({
    dtype: 'int64',
    shape: [n],
    data: Float64Array.from(values.slice(0, n)),
  })
  const feeds = new Map<string, NdArray>([
    ['z', { dtype: 'float32', shape: [n, k], data: Float64Array.from(logits.flat()) }],
    ['y', numbers(labels)],
    ['t', numbers(targets)],
  ])
  const [values, rows] = interpret(b.graph, feeds, [loss, gradient])
  return {
    loss: [...values.data],
    gradient: logits.map((_, i) => [...rows.data.subarray(i * k, (i + 1) * k)]),
  }
}

const sorted = (z: readonly number[]): number[] => [...z].sort((a, b) => b - a)
const others = (z: readonly number[], y: number): number => Math.max(...z.filter((_, i) => i !== y))
const definitions: [string, LossName, boolean, (z: readonly number[], y: number, t: number) => number][] = [
  ['cross-entropy', 'cross-entropy', false, (z, y) => Math.log(z.reduce((s, v) => s + Math.exp(v), 0)) - z[y]],
  [
    'targeted cross-entropy',
    'cross-entropy',
    true,
    (z, _y, t) => Math.log(z.reduce((s, v) => s + Math.exp(v), 0)) - z[t],
  ],
  ['margin', 'margin', false, (z, y) => others(z, y) - z[y]],
  ['targeted margin', 'margin', true, (z, _y, t) => others(z, t) - z[t]],
  [
    'DLR',
    'dlr',
    false,
    (z, y) => {
      const s = sorted(z)
      return (others(z, y) - z[y]) / (s[0] - s[2])
    },
  ],
  [
    'targeted DLR',
    'dlr',
    true,
    (z, y, t) => {
      const s = sorted(z)
      return (z[y] - z[t]) / (s[0] - (s[2] + s[3]) / 2)
    },
  ],
]

describe.each(definitions)('%s', (_name, loss, targeted, definition) => {
  const random = randomNumbers(3)
  const { data } = randomArray(random, [samples, classes], -3, 3)
  const logits = Array.from({ length: samples }, (_, i) => [...data.subarray(i * classes, (i + 1) * classes)])

  it('is its definition, sample by sample', () => {
    const found = run(loss, logits, targeted).loss
    for (const [i, z] of logits.entries()) expect(found[i]).toBeCloseTo(definition(z, labels[i], targets[i]), 6)
  })

  it('has the gradient of its definition', () => {
    const { gradient } = run(loss, logits, targeted)
    for (const [i, z] of logits.entries())
      for (const k of z.keys()) {
        const at = (step: number): number =>
          definition(
            z.map((v, j) => (j === k ? v + step : v)),
            labels[i],
            targets[i],
          )
        expect(gradient[i][k]).toBeCloseTo((at(1e-5) - at(-1e-5)) / 2e-5, 5)
      }
  })
})

it('cross-entropy of huge logits neither overflows nor loses its gradient', () => {
  const { loss, gradient } = run('cross-entropy', [[1e4, -1e4, 0]])
  expect(loss[0]).toBeCloseTo(0, 12)
  expect(gradient[0].every(Number.isFinite)).toBe(true)
  const wrong = run('cross-entropy', [[-1e4, 1e4, 0]])
  expect(wrong.loss[0]).toBeCloseTo(2e4, 6)
  expect(wrong.gradient[0]).toEqual([-1, 1, 0])
})

it('DLR of equal logits is finite', () => {
  const { loss, gradient } = run('dlr', [[1, 1, 1, 1]])
  expect([loss[0], ...gradient[0]].every(Number.isFinite)).toBe(true)
})

it.each([
  ['margin', false, 1, 'at least 2'],
  ['dlr', false, 2, 'at least 3'],
  ['dlr', true, 3, 'at least 4'],
] as const)('%s (targeted: %s) says that %i classes are too few', (loss, targeted, k, expected) => {
  const logits = [Array.from({ length: k }, (_, i) => i)]
  expect(() => run(loss, logits, targeted)).toThrow(expect.objectContaining({ code: 'DATA_CLASSES' }))
  expect(() => run(loss, logits, targeted)).toThrow(expected)
})
