import type { NdArray } from './nd-array.js'

export type { NdArray } from './nd-array.js'

/** Evaluates one operator of the newest opset in float64. Throws ModelError OPERATOR_UNSUPPORTED for one it does not know. */
export function evaluate(
  op: string,
  attributes: object,
  inputs: readonly (NdArray | undefined)[],
  outputs: number,
): NdArray[] {
  throw new Error(`to be written: ${op} ${attributes} ${inputs.length} ${outputs}`)
}
