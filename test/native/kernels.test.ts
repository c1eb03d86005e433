import { afterAll, describe, expect, test } from 'vitest'
import { loadNative } from '#signstep/native/index.js'

const native = loadNative()
const widest = native.instructionSet()
const sets = ['scalar', 'neon', 'avx2', 'avx512'].filter((name) => {
  try {
    native.setInstructionSet(name)
    return true
  } catch {
    return false
  }
})
native.setInstructionSet(widest)
afterAll(() => native.setInstructionSet(widest))

/** A small generator of our own, so that a failure can be repeated. */
function random(seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    return (state >>> 8) / 2 ** 24
  }
}

interface Batch {
  readonly n: number
  readonly per: number
  readonly x: Float32Array
  readonly x0: Float32Array
  readonly g: Float32Array
  readonly momentum: Float32Array
  readonly alpha: Float32Array
  readonly eps: Float32Array
  readonly nan: Int32Array
  readonly zero: Uint8Array
}

/** Arrays that start at odd float offsets of one buffer; a tenth of the gradient is 0, a hundredth NaN. */
function batch(n: number, per: number, seed: number): Batch {
  const next = random(seed)
  const buffer = new ArrayBuffer(4 * (4 * n * per + 16))
  let offset = 4
  const array = (): Float32Array => {
    const view = new Float32Array(buffer, offset, n * per)
    offset += 4 * (n * per + 1)
    return view
  }
  const [x, x0, g, momentum] = [array(), array(), array(), array()]
  const eps = Float32Array.from({ length: n }, () => 0.001 + 0.1 * next())
  const alpha = eps.map((e) => e * next())
  for (let i = 0; i < n * per; i++) {
    x0[i] = next()
    x[i] = x0[i] + 2 * eps[Math.floor(i / per)] * (2 * next() - 1)
    const choice = next()
    g[i] = choice < 0.01 ? Number.NaN : choice < 0.1 ? 0 : 2 ** (30 * next() - 20) * (next() - 0.5)
    momentum[i] = next() - 0.5
  }
  return { n, per, x, x0, g, momentum, alpha, eps, nan: new Int32Array(n), zero: new Uint8Array(n) }
}

const clamp = (v: number, low: number, high: number): number => Math.min(Math.max(v, low), high)
const sign = (v: number): number => (v > 0 ? 1 : v < 0 ? -1 : 0)
const worst = (a: Float32Array, b: Float64Array): number =>
  b.reduce((most, v, i) => Math.max(most, Math.abs(a[i] - v)), 0)

const shapes = [
  [1, 1],
  [3, 17],
  [2, 64],
  [5, 3072],
  [2, 20001],
] as const

describe.each(sets)('on %s', (set) => {
  test.each(shapes)('an L∞ step of %i × %i is α·sign, projected and clamped', (n, per) => {
    native.setInstructionSet(set)
    for (const direction of [1, -1]) {
      const b = batch(n, per, per + direction)
      const expected = Float64Array.from(b.x, (v, i) => {
        const [s, x0] = [Math.floor(i / per), b.x0[i]]
        return clamp(clamp(v + direction * b.alpha[s] * sign(b.g[i]), x0 - b.eps[s], x0 + b.eps[s]), 0, 1)
      })
      native.stepLinf(b.x, b.x0, b.g, b.alpha, b.eps, direction, b.nan, b.zero)
      expect(worst(b.x, expected)).toBeLessThan(1.3e-7)
      expect([...b.nan]).toEqual(
        Array.from({ length: n }, (_, s) => b.g.subarray(s * per, (s + 1) * per).filter(Number.isNaN).length),
      )
      const excess = Array.from(b.x, (v, i) => Math.abs(v - b.x0[i]) - b.eps[Math.floor(i / per)])
      expect(Math.max(...excess)).toBeLessThanOrEqual(3e-8)
    }
  })

  test.each(shapes)('an L2 step of %i × %i goes along the unit gradient and back into the ball', (n, per) => {
    native.setInstructionSet(set)
    const b = batch(n, per, per)
    const expected = new Float64Array(b.x.length)
    for (let s = 0; s < n; s++) {
      const rows = Array.from({ length: per }, (_, i) => s * per + i)
      const finite = (i: number): number => (Number.isNaN(b.g[i]) ? 0 : b.g[i])
      const norm = Math.max(Math.sqrt(rows.reduce((sum, i) => sum + finite(i) ** 2, 0)), 1e-12)
      for (const i of rows) expected[i] = b.x[i] - (b.alpha[s] * finite(i)) / norm
      const distance = Math.sqrt(rows.reduce((sum, i) => sum + (expected[i] - b.x0[i]) ** 2, 0))
      const factor = Math.min(1, b.eps[s] / distance)
      for (const i of rows) expected[i] = clamp(b.x0[i] + factor * (expected[i] - b.x0[i]), 0, 1)
    }
    native.stepL2(b.x, b.x0, b.g, b.alpha, b.eps, -1, b.nan, b.zero)
    expect(worst(b.x, expected)).toBeLessThan(3e-7)
  })

  test.each(shapes)('a momentum step of %i × %i follows the accumulated direction', (n, per) => {
    native.setInstructionSet(set)
    const b = batch(n, per, per)
    const before = { x: b.x.slice(), momentum: b.momentum.slice() }
    native.stepMomentum(b.x, b.x0, b.g, b.momentum, b.alpha, b.eps, 0.5, 1, b.nan, b.zero)
    const off = { x: 0, momentum: 0 }
    for (let s = 0; s < n; s++) {
      const row = b.g.subarray(s * per, (s + 1) * per)
      const mean = row.reduce((sum, v) => sum + (Number.isNaN(v) ? 0 : Math.abs(v)), 0) / per
      for (let i = s * per; i < (s + 1) * per; i++) {
        const useless = Number.isNaN(b.g[i])
        const m = 0.5 * before.momentum[i] + (useless || mean === 0 ? 0 : b.g[i] / mean)
        off.momentum = Math.max(off.momentum, Math.abs(b.momentum[i] - m) / Math.max(1, Math.abs(m)))
        if (Math.abs(m) < 1e-5) continue // its sign may be the rounding's
        const moved = before.x[i] + (useless ? 0 : b.alpha[s] * sign(m))
        const x = clamp(clamp(moved, b.x0[i] - b.eps[s], b.x0[i] + b.eps[s]), 0, 1)
        off.x = Math.max(off.x, Math.abs(b.x[i] - x))
      }
    }
    expect(off.momentum).toBeLessThan(1e-6)
    expect(off.x).toBeLessThan(1.3e-7)
  })

  test('distances are the largest and the Euclidean length of the difference', () => {
    native.setInstructionSet(set)
    const b = batch(3, 4999, 9)
    const [linf, l2] = [new Float32Array(3), new Float32Array(3)]
    native.distances(b.x, b.x0, linf, l2)
    for (let s = 0; s < 3; s++) {
      const rows = Array.from({ length: 4999 }, (_, i) => b.x[s * 4999 + i] - b.x0[s * 4999 + i])
      expect(linf[s]).toBe(Math.fround(Math.max(...rows.map(Math.abs))))
      expect(l2[s]).toBeCloseTo(Math.hypot(...rows), 6)
    }
  })
})

test('every instruction set and thread count starts at the same point', () => {
  const threads = native.threads()
  const starts = sets.flatMap((set) =>
    [1, 2, 5].map((count) => {
      native.setInstructionSet(set)
      native.setThreads(count)
      const b = batch(3, 50000, 1)
      const [uniform, ball] = [new Float32Array(150000), new Float32Array(150000)]
      const indices = Int32Array.of(4, 99, 2 ** 31 - 1)
      native.startUniform(uniform, b.x0, b.eps, 2, 2n ** 64n - 1n, indices, 7)
      native.startL2(ball, b.x0, b.eps, false, 5n, indices, 0)
      return Buffer.concat([Buffer.from(uniform.buffer), Buffer.from(ball.buffer)])
    }),
  )
  native.setThreads(threads)
  expect(starts.every((start) => start.equals(starts[0]))).toBe(true)
})

test('the steps work on shared memory', () => {
  const shared = (values: Float32Array): Float32Array => {
    const copy = new Float32Array(new SharedArrayBuffer(values.byteLength))
    copy.set(values)
    return copy
  }
  const [a, b] = [batch(2, 100, 3), batch(2, 100, 3)]
  const x = shared(a.x)
  native.stepLinf(x, shared(a.x0), shared(a.g), a.alpha, a.eps, 1, a.nan, a.zero)
  native.stepLinf(b.x, b.x0, b.g, b.alpha, b.eps, 1, b.nan, b.zero)
  expect([...x]).toEqual([...b.x])
})

describe('wrong arguments are refused with a TypeError that names them', () => {
  const one = Float32Array.of(0.1)
  const image = (): Float32Array => new Float32Array(4)
  const step = (change: Record<number, unknown>): unknown[] => {
    const list: unknown[] = [image(), image(), image(), one, one, 1, new Int32Array(1), new Uint8Array(1)]
    for (const [at, value] of Object.entries(change)) list[Number(at)] = value
    return list
  }
  const call = (list: unknown[]): void => (native.stepLinf as (...list: unknown[]) => void)(...list)

  test.each([
    [{ 0: undefined }, 'x: expected a Float32Array, found undefined'],
    [{ 0: [1, 2, 3, 4] }, 'x: expected a Float32Array, found a Array'],
    [{ 0: new Float64Array(4) }, 'x: expected a Float32Array, found a Float64Array'],
    [{ 1: new Float32Array(3) }, 'x0: expected 4 elements, as many as x, found 3'],
    [{ 2: new Float32Array(5) }, 'g: expected 4 elements, as many as x, found 5'],
    [{ 3: new Float32Array(2) }, 'alpha: expected 1 elements, as many as eps, found 2'],
    [{ 3: Float32Array.of(-1) }, 'alpha[0]: expected a finite number >= 0, found -1'],
    [{ 4: Float32Array.of(Number.NaN) }, 'eps[0]: expected a number, found NaN'],
    [{ 5: 2 }, 'direction: expected 1 or -1, found 2'],
    [{ 5: '1' }, 'direction: expected 1 or -1, found 1'],
    [{ 6: new Int32Array(2) }, 'nan: expected 1 elements, as many as eps, found 2'],
    [{ 7: new Int32Array(1) }, 'zero: expected a Uint8Array, found a Int32Array'],
    [
      { 3: new Float32Array(3), 4: new Float32Array(3), 6: new Int32Array(3), 7: new Uint8Array(3) },
      'x: expected a multiple of the 3 samples that eps has, found 4 elements',
    ],
  ])('%o', (change, message) => {
    expect(() => call(step(change))).toThrow(new TypeError(message))
  })

  test('seeds, restarts, indices, thread counts and instruction sets', () => {
    const start = (seed: unknown, restart: unknown, index = 0): void =>
      (native.startUniform as (...list: unknown[]) => void)(
        image(),
        image(),
        one,
        1,
        seed,
        Int32Array.of(index),
        restart,
      )
    expect(() => start(1, 0)).toThrow(/^seed: expected a bigint/)
    expect(() => start(-1n, 0)).toThrow(/^seed: expected a bigint/)
    expect(() => start(1n, 0.5)).toThrow(/^restart: expected an integer/)
    expect(() => start(1n, 2 ** 24)).toThrow(/^restart: expected less than 2\^24/)
    expect(() => start(1n, 0, -1)).toThrow(/^sample_indices\[0\]: expected >= 0/)
    expect(() => native.setThreads(0)).toThrow(TypeError)
    expect(() => native.setInstructionSet('mmx')).toThrow(/'mmx'/)
  })

  test('a detached array', () => {
    const x = image()
    structuredClone(x.buffer, { transfer: [x.buffer as ArrayBuffer] })
    expect(() => call(step({ 0: x }))).toThrow(TypeError)
  })
})
