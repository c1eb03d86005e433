import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { differentiate, klDivergence, type LabelLossName, lossOf } from '#signstep/autodiff/index.js'
import { lossOfLogits } from '#signstep/backend/index.js'
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

function run(name: LabelLossName, logits: readonly (readonly number[])[], targeted = false): Result {
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
const definitions: [string, LabelLossName, boolean, (z: readonly number[], y: number, t: number) => number][] = [
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

describe('KL', () => {
  const array = (rows: readonly (readonly number[])[]): NdArray => ({
    dtype: 'float32',
    shape: [rows.length, rows[0].length],
    data: Float64Array.from(rows.flat()),
  })
  /** Loss, its gradient g, and with `direction` the gradient of g·direction. */
  function runKl(
    logits: readonly (readonly number[])[],
    reference: readonly (readonly number[])[],
    direction?: readonly (readonly number[])[],
  ): { loss: Float64Array; gradient: Float64Array; second: Float64Array | undefined } {
    const shape = [logits.length, logits[0].length]
    const b = new GraphBuilder(new Graph('kl'))
    const [z, r, d] = ['z', 'r', 'd'].map((name) => b.input(name, 'float32', shape))
    const loss = klDivergence(b, z, r)
    const [gradient] = differentiate(b, new Map([[loss, b.full([shape[0]], 1)]]), [z])
    if (gradient === undefined) throw new Error('no gradient')
    const [second] = differentiate(b, new Map([[gradient, d]]), [z])
    if (second === undefined) throw new Error('no second derivative')
    const feeds = new Map([
      ['z', array(logits)],
      ['r', array(reference)],
      ['d', array(direction ?? logits)],
    ])
    const [values, rows, curvature] = interpret(b.graph, feeds, [loss, gradient, second])
    return { loss: values.data, gradient: rows.data, second: direction && curvature.data }
  }
  const softmax = (z: readonly number[]): number[] => {
    const sum = z.reduce((s, v) => s + Math.exp(v), 0)
    return z.map((v) => Math.exp(v) / sum)
  }
  const random = randomNumbers(9)
  const rows = (): number[][] =>
    Array.from({ length: samples }, () => Array.from({ length: classes }, () => 6 * random() - 3))
  const [logits, reference, direction] = [rows(), rows(), rows()]

  it('is Σ p (log p − log q), with the gradient q − p', () => {
    const { loss, gradient } = runKl(logits, reference)
    for (const [i, z] of logits.entries()) {
      const [p, q] = [softmax(reference[i]), softmax(z)]
      expect(loss[i]).toBeCloseTo(
        p.reduce((sum, v, k) => sum + v * Math.log(v / q[k]), 0),
        6,
      )
      for (const k of z.keys()) expect(gradient[i * classes + k]).toBeCloseTo(q[k] - p[k], 6)
    }
  })

  it('can be differentiated twice: its curvature is that of the softmax', () => {
    const { second } = runKl(logits, reference, direction)
    for (const [i, z] of logits.entries()) {
      const q = softmax(z)
      const mean = q.reduce((sum, v, k) => sum + v * direction[i][k], 0)
      for (const k of z.keys()) expect(second?.[i * classes + k]).toBeCloseTo(q[k] * (direction[i][k] - mean), 6)
    }
  })

  it('is zero and flat at the reference, and finite between huge logits', () => {
    const { loss, gradient } = runKl(logits, logits)
    for (const value of [...loss, ...gradient]) expect(value).toBeCloseTo(0, 7)
    const far = runKl([[-1e4, 1e4, 0]], [[1e4, -1e4, 0]])
    expect(far.loss[0]).toBeCloseTo(2e4, 6)
    expect([...far.gradient]).toEqual([-1, 1, 0])
  })
})

describe("losses and gradients are PyTorch's", () => {
  /** Written by scripts/golden/losses.py. */
  const golden = JSON.parse(readFileSync(new URL('fixtures/losses.json', import.meta.url), 'utf8'))

  it.each(['cross-entropy', 'kl'] as const)('%s', (name) => {
    const b = new GraphBuilder(new Graph('loss'))
    const shape = [golden.logits.length, golden.logits[0].length]
    const [z, reference] = ['z', 'reference'].map((input) => b.input(input, 'float32', shape))
    const labels = b.input('labels', 'int64', [shape[0]])
    const loss = name === 'kl' ? klDivergence(b, z, reference) : lossOf(b, name, z, labels)
    const [gradient] = differentiate(b, new Map([[loss, b.full([shape[0]], 1)]]), [z])
    const numbers = (values: number[][]): NdArray => ({
      dtype: 'float32',
      shape,
      data: Float64Array.from(values.flat()),
    })
    const feeds = new Map<string, NdArray>([
      ['z', numbers(golden.logits)],
      ['reference', numbers(golden.reference)],
      ['labels', { dtype: 'int64', shape: [shape[0]], data: Float64Array.from(golden.labels) }],
    ])
    const [values, rows] = interpret(b.graph, feeds, [loss, gradient as NonNullable<typeof gradient>])
    const float32 = Float32Array.from(golden.logits.flat() as number[])
    const direct = lossOfLogits(name, float32, shape[1], {
      labels: Int32Array.from(golden.labels as number[]),
      referenceLogits: Float32Array.from(golden.reference.flat() as number[]),
    })
    for (const [i, expected] of (golden[name].loss as number[]).entries()) {
      expect(Math.abs(values.data[i] - expected)).toBeLessThan(2e-6)
      expect(Math.abs(direct[i] - expected)).toBeLessThan(1e-6 * Math.abs(expected) + 1e-12)
    }
    for (const [i, expected] of (golden[name].gradient as number[][]).flat().entries())
      expect(Math.abs(rows.data[i] - expected)).toBeLessThan(2e-6)
  })
})
