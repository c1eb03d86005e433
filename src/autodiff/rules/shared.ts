import { type Dim, type GraphBuilder, isBatch, type Node, type Value } from '../../graph/index.js'
import { numbersOf } from '../../tensor/index.js'
import type { VjpContext, VjpRule } from '../rule.js'

export type VjpRules = Readonly<Record<string, VjpRule>>

/** The gradient of the first output, which rules of single-output operators are called with. */
export function outputGradient(c: VjpContext): Value {
  const [gradient] = c.gradients
  if (gradient === undefined) throw new Error(`${c.node.op}: no gradient reached its first output`)
  return gradient
}

export function required(c: VjpContext, i: number): Value {
  const value = c.inputs[i]
  if (value === undefined) throw new Error(`${c.node.op}: input ${i} is missing`)
  return value
}

/** A rule for operators of one input: `f` makes d(scalar)/d(input) from the output's gradient. */
export const unary =
  (f: (b: GraphBuilder, g: Value, x: Value, y: Value, node: Node) => Value): VjpRule =>
  (c) => [f(c.b, outputGradient(c), required(c, 0), c.outputs[0], c.node)]

/** Nothing flows back: the operator is constant almost everywhere, or its output is no float. */
export const noGradient: VjpRule = (c) => c.inputs.map(() => undefined)

/** The elements of a constant input, or undefined where it is left out. */
export function constantInput(c: VjpContext, i: number): number[] | undefined {
  const value = c.inputs[i]
  if (value === undefined) return undefined
  if (value.constant !== undefined) return Array.from(numbersOf(value.constant))
  if (value.known !== undefined && !value.known.some(isBatch)) return [...value.known] as number[]
  throw unsupported(c, `input ${i} is not constant`)
}

/** A form of a known operator that has no rule. */
export function unsupported(c: VjpContext, why: string): Error {
  return new UnsupportedForm(`${c.node.op} (${c.node.name}): ${why}`)
}

/** Caught by `differentiate`, which knows the path and reports it as OPERATOR_NO_GRADIENT. */
export class UnsupportedForm extends Error {}

export const normalAxis = (axis: number, rank: number): number => (axis < 0 ? axis + rank : axis)

export function numberDim(c: VjpContext, dim: Dim, what: string): number {
  if (isBatch(dim)) throw unsupported(c, `${what} depends on the batch size`)
  return dim
}

export const range = (start: number, end: number): number[] => Array.from({ length: end - start }, (_, i) => start + i)
