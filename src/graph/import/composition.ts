import { ModelError } from '../../errors/index.js'
import type { GraphBuilder } from '../builder.js'
import { isBatch } from '../dim.js'
import type { Attributes, Value } from '../ir.js'

/** A node that is read as several others. */
export interface ComposedNode {
  readonly b: GraphBuilder
  readonly inputs: readonly (Value | undefined)[]
  readonly attributes: Attributes
}

/** The outputs of such a node; undefined for one that has no place in inference. */
export type Composition = (node: ComposedNode) => readonly (Value | undefined)[]

export function required({ inputs }: ComposedNode, i: number): Value {
  const value = inputs[i]
  if (value === undefined) throw new ModelError('MODEL_INVALID', `input ${i} is missing`, {})
  return value
}

/** The integers of an input that must be known before the model runs. */
export function knownInts(node: ComposedNode, i: number, what: string): readonly number[] {
  const { known, name } = required(node, i)
  if (known === undefined || known.some(isBatch))
    throw new ModelError('OPERATOR_UNSUPPORTED', `${what} must follow from sizes`, { found: name })
  return known as readonly number[]
}

/** Sizes of axes that must not depend on the batch. */
export function fixed(value: Value, axes: readonly number[], what: string): number[] {
  return axes.map((axis) => {
    const size = value.shape[axis]
    if (typeof size !== 'number')
      throw new ModelError('OPERATOR_UNSUPPORTED', `${what} must not depend on the batch`, { found: value.name })
    return size
  })
}

export const pick = (attributes: Attributes, ...names: readonly string[]): Attributes =>
  Object.fromEntries(Object.entries(attributes).filter(([name]) => names.includes(name)))

export function numberOf({ attributes }: ComposedNode, name: string): number | undefined {
  const value = attributes[name]
  return typeof value === 'number' ? value : undefined
}
