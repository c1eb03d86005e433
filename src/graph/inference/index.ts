import { ModelError } from '../../errors/index.js'
import type { Attributes, Value } from '../ir.js'
import { attentionRules } from './attention.js'
import type { InferenceRules, Inferred } from './call.js'
import { convRules } from './conv.js'
import { createRules } from './create.js'
import { elementwiseRules } from './elementwise.js'
import { gatherRules } from './gather.js'
import { joinRules } from './join.js'
import { matrixRules } from './matrix.js'
import { normaliseRules } from './normalise.js'
import { poolRules } from './pool.js'
import { reduceRules } from './reduce.js'
import { resizeRules } from './resize.js'
import { shapeRules } from './shape.js'

export type { Inferred } from './call.js'
export { type EinsumEquation, einsumEquation } from './einsum-equation.js'
export { slicesAll } from './join.js'
export { slidingWindow, type Window } from './window.js'

const rules: InferenceRules = {
  ...elementwiseRules,
  ...reduceRules,
  ...matrixRules,
  ...convRules,
  ...poolRules,
  ...normaliseRules,
  ...shapeRules,
  ...joinRules,
  ...gatherRules,
  ...createRules,
  ...resizeRules,
  ...attentionRules,
}

/** Why an operator of the standard is not taken, where there is more to say than that it is unknown. */
function refusal(op: string): string {
  if (['If', 'Loop', 'Scan', 'SequenceMap'].includes(op)) return 'control flow is not supported'
  if (op.startsWith('Random') || op === 'Bernoulli' || op === 'Multinomial')
    return 'random operators are not supported: a gradient needs a deterministic model'
  if (op === 'DynamicQuantizeLinear' || op.endsWith('Integer'))
    return 'dynamic quantisation is not supported: its range is that of the whole batch, so samples would depend on each other'
  if (op.includes('Quantize') || op.includes('QLinear')) return 'quantised operators are not supported'
  if (op.startsWith('Sequence') || op.startsWith('Optional')) return 'sequences and optional values are not supported'
  return 'unknown operator'
}

export const canInfer = (op: string): boolean => Object.hasOwn(rules, op)

/**
 * Type, shape and (for shape arithmetic) content of every output of a node. Throws ModelError SHAPE_MISMATCH where inputs do not
 * fit, OPERATOR_UNSUPPORTED where the operator is not known.
 */
export function infer(
  op: string,
  inputs: readonly (Value | undefined)[],
  attributes: Attributes,
  outputs: number,
): Inferred[] {
  if (!canInfer(op)) throw new ModelError('OPERATOR_UNSUPPORTED', refusal(op), { subject: op })
  return rules[op]({ op, inputs, attributes, outputs })
}
