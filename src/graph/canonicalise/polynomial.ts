import type { Value } from '../ir.js'
import { near, scalarOf } from './match.js'

/** Coefficients of x^i·t^j under the key `i,j`. */
export type Polynomial = ReadonlyMap<string, number>

/** Operators a polynomial is written with. */
export const arithmetic: ReadonlySet<string> = new Set(['Add', 'Sub', 'Mul', 'Div', 'Neg', 'Pow', 'Identity'])

const DEPTH = 10

/** `value` as a polynomial in x and t, whatever the association; undefined where it is none. */
export function polynomialIn(value: Value | undefined, x: Value, t?: Value, depth = DEPTH): Polynomial | undefined {
  if (value === undefined || depth === 0) return undefined
  if (value === x) return new Map([['1,0', 1]])
  if (value === t) return new Map([['0,1', 1]])
  const constant = scalarOf(value)
  if (constant !== undefined) return new Map([['0,0', constant]])
  const node = value.producer
  if (node === undefined || !arithmetic.has(node.op)) return undefined
  return combine(
    node.op,
    node.inputs,
    node.inputs.map((input) => polynomialIn(input, x, t, depth - 1)),
  )
}

/** The polynomial of an operator from those of its operands. */
export function combine(
  op: string,
  inputs: readonly (Value | undefined)[],
  [a, b]: readonly (Polynomial | undefined)[],
): Polynomial | undefined {
  if (a === undefined) return undefined
  if (op === 'Identity') return a
  if (op === 'Neg') return scale(a, -1)
  const number = scalarOf(inputs[1])
  if (op === 'Pow') {
    if (number === undefined || !Number.isInteger(number) || number < 1 || number > 4) return undefined
    let power = a
    for (let i = 1; i < number; i++) power = multiply(power, a)
    return power
  }
  if (op === 'Div') return number === undefined || number === 0 ? undefined : scale(a, 1 / number)
  if (b === undefined) return undefined
  if (op === 'Add') return sum(a, b)
  if (op === 'Sub') return sum(a, scale(b, -1))
  return multiply(a, b)
}

/** True where the two agree up to the rounding of float32 constants. */
export function samePolynomial(a: Polynomial | undefined, b: Readonly<Record<string, number>>): boolean {
  if (a === undefined) return false
  const keys = Object.keys(b)
  const nonzero = [...a].filter(([, coefficient]) => coefficient !== 0)
  return nonzero.length === keys.length && keys.every((key) => near(a.get(key) ?? 0, b[key]))
}

const scale = (a: Polynomial, by: number): Polynomial => new Map([...a].map(([key, c]) => [key, c * by]))

function sum(a: Polynomial, b: Polynomial): Polynomial {
  const out = new Map(a)
  for (const [key, c] of b) out.set(key, (out.get(key) ?? 0) + c)
  return out
}

function multiply(a: Polynomial, b: Polynomial): Polynomial {
  const out = new Map<string, number>()
  for (const [p, c] of a)
    for (const [q, d] of b) {
      const [i, j] = p.split(',').map(Number)
      const [k, l] = q.split(',').map(Number)
      const key = `${i + k},${j + l}`
      out.set(key, (out.get(key) ?? 0) + c * d)
    }
  return out
}
