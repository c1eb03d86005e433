import { ModelError, nearest } from '../errors/index.js'
import { activation } from './activation.js'
import { alongAxisOperators } from './along-axis.js'
import { arithmetic } from './arithmetic.js'
import type { Operator } from './array.js'
import { attentions } from './attention.js'
import { conversion } from './cast.js'
import { compare } from './compare.js'
import { convolution } from './conv.js'
import { generate } from './generate.js'
import { gridSampling } from './grid-sample.js'
import { indexing } from './indexing.js'
import { matrix } from './matrix.js'
import type { NdArray } from './nd-array.js'
import { normalise } from './normalise.js'
import { padding } from './pad.js'
import { pool } from './pool.js'
import { reduce } from './reduce.js'
import { resizing } from './resize.js'
import { shape } from './shape.js'
import { space } from './space.js'

export type { NdArray } from './nd-array.js'

const operators: Readonly<Record<string, Operator>> = {
  ...arithmetic,
  ...compare,
  ...conversion,
  ...activation,
  ...reduce,
  ...alongAxisOperators,
  ...matrix,
  ...convolution,
  ...pool,
  ...normalise,
  ...shape,
  ...space,
  ...padding,
  ...generate,
  ...indexing,
  ...resizing,
  ...attentions,
  ...gridSampling,
}

/** The operators that `evaluate` knows. */
export const interpretedOperators: readonly string[] = Object.keys(operators)

/**
 * Evaluates one operator of the newest opset in float64, whatever its types say: simple rather than fast. It folds constants and is
 * the oracle of the tests. Throws ModelError OPERATOR_UNSUPPORTED for an operator it does not know.
 */
export function evaluate(
  op: string,
  attributes: object,
  inputs: readonly (NdArray | undefined)[],
  outputs: number,
): NdArray[] {
  const operator = Object.hasOwn(operators, op) ? operators[op] : undefined
  if (operator === undefined) {
    const near = nearest(op, interpretedOperators)
    throw new ModelError('OPERATOR_UNSUPPORTED', 'the interpreter does not know this operator', {
      subject: op,
      cure: near && `The nearest it knows is ${near}.`,
    })
  }
  const result = operator({ op, attributes: attributes as Record<string, unknown>, inputs, outputs })
  return Array.isArray(result) ? result : [result]
}
