import { addDims, batchDim, type Dim, divideDims, isBatch, multiplyDims, sameDim } from '../dim.js'
import type { Value } from '../ir.js'

/** Larger values are no shapes. */
const LIMIT = 1024

export type DimFunction = (args: readonly Dim[]) => Dim | undefined

/** Applies an elementwise operator to known elements, with broadcasting; undefined unless every element comes out. */
export function mapKnown(
  inputs: readonly (Value | undefined)[],
  shape: readonly Dim[],
  apply: DimFunction,
): readonly Dim[] | undefined {
  const operands: { known: readonly Dim[]; shape: readonly number[] }[] = []
  for (const input of inputs) {
    if (input?.known === undefined) return undefined
    operands.push({ known: input.known, shape: input.shape as readonly number[] })
  }
  const sizes = shape as readonly number[]
  const count = sizes.reduce((a, b) => a * b, 1)
  if (!(count <= LIMIT)) return undefined
  const out: Dim[] = []
  for (let i = 0; i < count; i++) {
    const result = apply(operands.map((operand) => operand.known[broadcastOffset(i, sizes, operand.shape)]))
    if (result === undefined) return undefined
    out.push(result)
  }
  return out
}

/** Where element `index` of an array of `shape` is read in an operand of `from`, broadcast to it. */
export function broadcastOffset(index: number, shape: readonly number[], from: readonly number[]): number {
  let offset = 0
  let stride = 1
  let rest = index
  for (let axis = shape.length - 1, at = from.length - 1; at >= 0; axis--, at--) {
    const position = rest % shape[axis]
    rest = Math.floor(rest / shape[axis])
    if (from[at] !== 1) offset += position * stride
    stride *= from[at]
  }
  return offset
}

const bool = (value: boolean): Dim => (value ? 1 : 0)

/** a < b, as far as it holds for every N ≥ 1. */
function less(a: Dim, b: Dim): boolean | undefined {
  const [slope, offset] = difference(b, a)
  // slope·N + offset > 0 ?
  if (slope === 0) return offset > 0
  if (slope > 0) return slope + offset > 0 ? true : undefined
  return slope + offset <= 0 ? false : undefined
}

function equal(a: Dim, b: Dim): boolean | undefined {
  const [slope, offset] = difference(a, b)
  if (slope === 0) return offset === 0
  const root = -offset / slope
  return Number.isInteger(root) && root >= 1 ? undefined : false
}

/** a − b as slope·N + offset. */
function difference(a: Dim, b: Dim): [slope: number, offset: number] {
  const slope = (isBatch(a) ? a.factor : 0) - (isBatch(b) ? b.factor : 0)
  const offset = (isBatch(a) ? 0 : a) - (isBatch(b) ? 0 : b)
  return [slope, offset]
}

const negate = (a: Dim): Dim => (isBatch(a) ? batchDim(-a.factor) : -a)

function pick(wanted: boolean, smaller: boolean | undefined, a: Dim, b: Dim): Dim | undefined {
  if (sameDim(a, b)) return a
  if (smaller === undefined) return undefined
  return smaller === wanted ? a : b
}

function logical(result: boolean | undefined): Dim | undefined {
  return result === undefined ? undefined : bool(result)
}

/** Operators that mean the same on integers and floats. */
export const dimFunctions: Readonly<Record<string, DimFunction>> = {
  Add: ([a, b]) => addDims(a, b),
  Sub: ([a, b]) => addDims(a, negate(b)),
  Mul: ([a, b]) => multiplyDims(a, b),
  Neg: ([a]) => negate(a),
  Abs: ([a]) => (isBatch(a) ? batchDim(Math.abs(a.factor)) : Math.abs(a)),
  Min: (all) => all.reduce<Dim | undefined>((m, x) => (m === undefined ? m : pick(true, less(m, x), m, x)), all[0]),
  Max: (all) => all.reduce<Dim | undefined>((m, x) => (m === undefined ? m : pick(false, less(m, x), m, x)), all[0]),
  Sum: (all) => all.reduce<Dim | undefined>((s, x) => (s === undefined ? s : addDims(s, x)), 0),
  Equal: ([a, b]) => logical(equal(a, b)),
  Less: ([a, b]) => logical(less(a, b)),
  Greater: ([a, b]) => logical(less(b, a)),
  LessOrEqual: ([a, b]) => {
    const greater = less(b, a)
    return greater === undefined ? undefined : bool(!greater)
  },
  GreaterOrEqual: ([a, b]) => {
    const smaller = less(a, b)
    return smaller === undefined ? undefined : bool(!smaller)
  },
  Not: ([a]) => (isBatch(a) ? undefined : bool(a === 0)),
  And: ([a, b]) => (a === 0 || b === 0 ? 0 : isBatch(a) || isBatch(b) ? undefined : 1),
  Or: ([a, b]) => (isBatch(a) || isBatch(b) ? undefined : bool(a !== 0 || b !== 0)),
  Where: ([condition, a, b]) => (isBatch(condition) ? undefined : condition !== 0 ? a : b),
  Identity: ([a]) => a,
}

/** Integer division truncates towards zero; a float quotient of N is known only where it comes out even. */
export function divideKnown(a: Dim, b: Dim, integer: boolean): Dim | undefined {
  if (isBatch(a) === isBatch(b) && integer) {
    const [x, y] = [isBatch(a) ? a.factor : (a as number), isBatch(b) ? b.factor : (b as number)]
    return y === 0 ? undefined : Math.trunc(x / y)
  }
  if (!isBatch(a) && !isBatch(b)) return a / b
  return divideDims(a, b)
}

/** The sign of the result follows the divisor (`fmod` = 0) or the dividend (`fmod` = 1). */
export function moduloKnown(a: Dim, b: Dim, fmod: boolean): Dim | undefined {
  if (isBatch(a)) return divideDims(a, b) === undefined ? undefined : 0
  if (isBatch(b) || b === 0) return undefined
  return fmod ? a % b : a - b * Math.floor(a / b)
}

/** Casts an element: towards zero for integers, to 0 or 1 for bool. */
export function castKnown(a: Dim, dtype: string): Dim | undefined {
  if (dtype === 'bool') return isBatch(a) ? 1 : bool(a !== 0)
  if (!dtype.includes('int')) return a
  if (isBatch(a)) return Number.isInteger(a.factor) ? a : undefined
  return Number.isFinite(a) ? Math.trunc(a) : undefined
}
