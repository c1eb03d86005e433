import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { differentiate } from '#signstep/autodiff/index.js'
import { Graph, GraphBuilder, interpret, type Value } from '#signstep/graph/index.js'
import type { NdArray } from '#signstep/interpreter/index.js'

interface Case {
  readonly op: string
  readonly attributes: Record<string, number | string | readonly number[]>
  /** Constant int64 inputs by position. */
  readonly ints: Record<string, readonly number[]>
  readonly outputs: number
  readonly inputs: readonly { readonly shape: readonly number[]; readonly data: readonly number[] }[]
  readonly gradient: readonly number[]
  readonly result: readonly number[]
  readonly gradients: readonly (readonly number[])[]
}

// Made by scripts/golden/operators.py.
const { cases, torch } = JSON.parse(readFileSync(new URL('./fixtures/operators.json', import.meta.url), 'utf8')) as {
  cases: Case[]
  torch: string
}

const array = (shape: readonly number[], data: readonly number[]): NdArray => ({
  dtype: 'float32',
  shape,
  data: Float64Array.from(data),
})

function close(found: Float64Array, wanted: readonly number[]): void {
  expect(found.length).toBe(wanted.length)
  const scale = Math.max(1e-3, ...wanted.map(Math.abs))
  for (const [i, value] of wanted.entries()) expect(Math.abs(found[i] - value) / scale).toBeLessThan(1e-6)
}

describe(`values and gradients agree with PyTorch ${torch}`, () => {
  it.each(
    cases.map(
      (entry) =>
        [
          `${entry.op} ${entry.inputs.map(({ shape }) => `[${shape}]`).join(' ')} ${JSON.stringify(entry.attributes)}`,
          entry,
        ] as const,
    ),
  )('%s', (_name, entry) => {
    const b = new GraphBuilder(new Graph('case'))
    const inputs = entry.inputs.map(({ shape }, i) => b.input(`x${i}`, 'float32', shape))
    const given: (Value | undefined)[] = []
    const waiting = [...inputs]
    const last = Math.max(-1, ...Object.keys(entry.ints).map(Number))
    for (let i = 0; waiting.length > 0 || i <= last; i++) {
      const constant = entry.ints[i]
      if (constant === undefined) given.push(waiting.shift())
      else given.push(entry.op === 'CumSum' ? b.reshape(b.ints(constant), []) : b.ints(constant))
    }
    const [y] = b.emitAll(entry.op, given, entry.attributes, entry.outputs)
    const seed = b.input('gradient', 'float32', y.shape)
    const gradients = differentiate(b, new Map([[y, seed]]), inputs) as Value[]
    const feeds = new Map(entry.inputs.map(({ shape, data }, i) => [`x${i}`, array(shape, data)]))
    feeds.set('gradient', array(y.shape as number[], entry.gradient))
    const [result, ...found] = interpret(b.graph, feeds, [y, ...gradients])
    close(result.data, entry.result)
    for (const [i, wanted] of entry.gradients.entries()) close(found[i].data, wanted)
  })
})
