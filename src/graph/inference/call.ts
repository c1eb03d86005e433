import { ModelError } from '../../errors/index.js'
import { numbersOf } from '../../tensor/index.js'
import { type Dim, isBatch, multiplyDims, showDim, showShape } from '../dim.js'
import { type Attributes, intsAttribute, type Value } from '../ir.js'

/** Type, shape and (for small shape arithmetic) content of one output. */
export interface Inferred {
  readonly dtype: Value['dtype']
  readonly shape: readonly Dim[]
  /** See Value.known. */
  readonly known?: readonly Dim[]
}

/** The node being inferred, before it exists. */
export interface Call {
  readonly op: string
  readonly inputs: readonly (Value | undefined)[]
  readonly attributes: Attributes
  /** How many outputs are wanted. */
  readonly outputs: number
}

export type InferenceRule = (call: Call) => Inferred[]
export type InferenceRules = Readonly<Record<string, InferenceRule>>

export function mismatch(call: Call, message: string, expected: string, found: string): ModelError {
  return new ModelError('SHAPE_MISMATCH', message, { subject: call.op, expected, found })
}

/** Input `i`, which the operator requires. */
export function required(call: Call, i: number): Value {
  const value = call.inputs[i]
  if (value === undefined)
    throw mismatch(call, `input ${i} is missing`, `at least ${i + 1} inputs`, `${call.inputs.length}`)
  return value
}

export function requireRank(call: Call, value: Value, least: number, most = Number.POSITIVE_INFINITY): void {
  const rank = value.shape.length
  if (rank >= least && rank <= most) return
  const range =
    least === most ? `${least}` : most === Number.POSITIVE_INFINITY ? `${least} or more` : `${least} to ${most}`
  throw mismatch(call, `wrong rank of ${value.name}`, `${range} axes`, showShape(value.shape))
}

/** An axis counted from the end where negative, checked. */
export function axisOf(call: Call, axis: number, rank: number): number {
  const normal = axis < 0 ? axis + rank : axis
  if (normal < 0 || normal >= rank) throw mismatch(call, 'axis out of range', `-${rank} to ${rank - 1}`, `${axis}`)
  return normal
}

/** The elements of a value as far as shape arithmetic knows them. */
export function knownOf(value: Value): readonly Dim[] | undefined {
  if (value.known !== undefined) return value.known
  return value.constant === undefined ? undefined : Array.from(numbersOf(value.constant))
}

/** The elements of a shape-like input: numbers and multiples of N. */
export function knownInput(call: Call, i: number, what: string): readonly Dim[] {
  const value = required(call, i)
  const known = knownOf(value)
  if (known === undefined)
    throw new ModelError('OPERATOR_UNSUPPORTED', `${what} depends on data`, {
      subject: call.op,
      expected: `${what} that follow from the shape of the input`,
      found: `${value.name}, computed by ${value.producer?.op ?? 'an input'}`,
    })
  return known
}

/** The elements of an input that has to be plain numbers. */
export function numberInput(call: Call, i: number, what: string): readonly number[] {
  return numbersOnly(call, knownInput(call, i, what), what)
}

export function numbersOnly(call: Call, dims: readonly Dim[], what: string): readonly number[] {
  if (dims.some(isBatch)) throw mismatch(call, `${what} must not depend on the batch size`, 'numbers', showShape(dims))
  return dims as readonly number[]
}

/** Axes given as input `i`, else undefined. */
export function axesInput(call: Call, i: number, rank: number): readonly number[] | undefined {
  if (call.inputs[i] === undefined) return undefined
  return numberInput(call, i, 'axes').map((axis) => axisOf(call, axis, rank))
}

export function intsOr(call: Call, name: string, fallback: readonly number[]): readonly number[] {
  return intsAttribute(call.attributes, name) ?? fallback
}

/** The number of elements; throws where it would hold N². */
export function sizeOf(call: Call, shape: readonly Dim[]): Dim {
  let size: Dim = 1
  for (const dim of shape) {
    const next = multiplyDims(size, dim)
    if (next === undefined) throw mismatch(call, 'two axes depend on the batch size', 'one', showShape(shape))
    size = next
  }
  return size
}

/** The common shape of operands, aligned at the last axis. */
export function broadcast(call: Call, shapes: readonly (readonly Dim[])[]): Dim[] {
  const rank = Math.max(0, ...shapes.map((shape) => shape.length))
  return Array.from({ length: rank }, (_, axis) => {
    let common: Dim = 1
    for (const shape of shapes) {
      const dim = shape[axis - (rank - shape.length)] ?? 1
      if (dim === 1) continue
      if (common === 1) common = dim
      else if (isBatch(common) ? !isBatch(dim) || dim.factor !== common.factor : dim !== common)
        throw mismatch(
          call,
          'shapes do not broadcast',
          `equal sizes or 1 on axis ${axis}`,
          `${showDim(common)} and ${showDim(dim)} (${shapes.map(showShape).join(' and ')})`,
        )
    }
    return common
  })
}
