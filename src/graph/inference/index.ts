import type { DType } from '../../tensor/index.js'
import type { Dim } from '../dim.js'
import type { Attributes, Value } from '../ir.js'

export interface Inferred {
  readonly dtype: DType
  readonly shape: readonly Dim[]
  /** See Value.known. */
  readonly known?: readonly Dim[]
}

/** Type, shape and (for small integers) content of every output of a node. Throws ModelError where inputs do not fit. */
export function infer(
  op: string,
  inputs: readonly (Value | undefined)[],
  attributes: Attributes,
  outputs: number,
): Inferred[] {
  throw new Error(`to be written: ${op} ${inputs.length} ${Object.keys(attributes)} ${outputs}`)
}
