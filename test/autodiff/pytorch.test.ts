import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { differentiate } from '#signstep/autodiff/index.js'
import { type Attributes, Graph, GraphBuilder, interpret, type Value } from '#signstep/graph/index.js'
import { type DType, tensorFromNumbers } from '#signstep/tensor/index.js'

interface Array {
  readonly dtype: DType
  readonly shape: readonly number[]
  readonly data: readonly number[]
}

/** Written by scripts/golden/operators.py. */
interface Case {
  readonly name: string
  readonly op: string
  readonly attributes: Attributes
  /** The differentiable inputs, then the others; `before` and `between` stand in front of and amid the former. */
  readonly inputs: readonly Array[]
  readonly constants: readonly (Array | null)[]
  readonly before?: Array
  readonly between?: Array
  readonly output: Array
  readonly upstream: Array
  readonly gradients: readonly Array[]
}

const fixture = new URL('fixtures/operators.json', import.meta.url)
const cases: Case[] = JSON.parse(readFileSync(fixture, 'utf8'))

/** Outputs an operator must be given beside the first. */
const OUTPUTS: Readonly<Record<string, number>> = { TopK: 2 }

function largestError(found: ArrayLike<number>, expected: readonly number[]): number {
  expect(found.length).toBe(expected.length)
  return expected.reduce((worst, value, i) => {
    const error = Math.abs(found[i] - value) / Math.max(1, Math.abs(value))
    return Number.isNaN(error) ? Number.POSITIVE_INFINITY : Math.max(worst, error)
  }, 0)
}

describe('outputs and gradients are those of PyTorch in float64', () => {
  it.each(cases.map((entry, i) => [`${i} ${entry.name}`, entry] as const))('%s', (_name, entry) => {
    const b = new GraphBuilder(new Graph('case'))
    const leaves = entry.inputs.map((array, i) => b.input(`x${i}`, 'float32', array.shape))
    const upstream = b.input('upstream', 'float32', entry.upstream.shape)
    const constant = (array: Array | null | undefined): Value | undefined =>
      array ? b.constant(tensorFromNumbers(array.dtype, array.shape, array.data)) : undefined
    const inputs: (Value | undefined)[] = [...leaves, ...entry.constants.map(constant)]
    if (entry.before) inputs.unshift(constant(entry.before))
    if (entry.between) inputs.splice(1, 0, constant(entry.between))
    const training = entry.attributes.training_mode === 1 ? 3 : 1
    const [output] = b.emitAll(entry.op, inputs, entry.attributes, OUTPUTS[entry.op] ?? training)
    const gradients = differentiate(b, new Map([[output, upstream]]), leaves)
    const feeds = new Map(
      [...entry.inputs, entry.upstream].map((array, i) => [
        i < leaves.length ? leaves[i].name : upstream.name,
        { dtype: array.dtype, shape: array.shape, data: Float64Array.from(array.data) },
      ]),
    )
    const zeros = (value: Value): Value => b.full(value.shape, 0)
    const [forward, ...backward] = interpret(b.graph, feeds, [
      output,
      ...gradients.map((g, i) => g ?? zeros(leaves[i])),
    ])
    expect(largestError(forward.data, entry.output.data)).toBeLessThan(2e-6)
    for (const [i, expected] of entry.gradients.entries()) {
      expect(backward[i].shape).toEqual(expected.shape)
      expect(largestError(backward[i].data, expected.data)).toBeLessThan(2e-6)
    }
  })
})
