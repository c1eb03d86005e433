import { expect, it } from 'vitest'
import { evaluate } from '#signstep/interpreter/index.js'

it('evaluates the error function to double precision', () => {
  // Abramowitz & Stegun table 7.1 and DLMF 7.23, to 16 digits.
  const known: [number, number][] = [
    [0.1, 0.1124629160182849],
    [0.5, 0.5204998778130465],
    [1, 0.8427007929497149],
    [2, 0.9953222650189527],
    [3, 0.9999779095030014],
  ]
  const x = Float64Array.from(known, ([at]) => at)
  const [{ data }] = evaluate('Erf', {}, [{ dtype: 'float32', shape: [x.length], data: x }], 1)
  for (const [i, [, value]] of known.entries()) expect(Math.abs(data[i] - value)).toBeLessThan(3e-16)
})

it('suggests the nearest operator for an unknown one', () => {
  expect(() => evaluate('Softmx', {}, [], 1)).toThrow(/Softmax/)
})
