import { activationRules } from './activation.js'
import { convRules } from './conv.js'
import { elementwiseRules } from './elementwise.js'
import { indexingRules } from './indexing.js'
import { matrixRules } from './matrix.js'
import { normaliseRules } from './normalise.js'
import { poolRules } from './pool.js'
import { reduceRules } from './reduce.js'
import { resizeRules } from './resize.js'
import { shapeRules } from './shape.js'
import type { VjpRules } from './shared.js'

/** One rule an operator. */
export const rules: VjpRules = {
  ...elementwiseRules,
  ...activationRules,
  ...matrixRules,
  ...convRules,
  ...poolRules,
  ...normaliseRules,
  ...reduceRules,
  ...shapeRules,
  ...indexingRules,
  ...resizeRules,
}
export { UnsupportedForm } from './shared.js'
