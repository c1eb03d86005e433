import { fgsmDefinition } from './fgsm.js'
import { miFgsmDefinition } from './mi-fgsm.js'
import { nFgsmDefinition } from './n-fgsm.js'
import { pgdDefinition, pgdL2Definition } from './pgd.js'
import { attackFunction } from './registry.js'
import { rsFgsmDefinition } from './rs-fgsm.js'

export { parseMagnitude, parseRadius } from './magnitude.js'
export { type AttackSpec, type AttackSpecOptions, attackNames, parseAttack } from './registry.js'
export type { PreparedAttack } from './run-attack.js'
export type * from './types.js'

/** FGSM on images [n,C,H,W] float32 in [0,1] and labels [n] (Goodfellow et al. 2015). */
export const fgsm = attackFunction(() => fgsmDefinition)
/** FGSM with a random start (Wong et al. 2020). */
export const rsFgsm = attackFunction(() => rsFgsmDefinition)
/** FGSM after noise, without projection (de Jorge et al. 2022). */
export const nFgsm = attackFunction(() => nFgsmDefinition)
/** PGD in the L∞ ball, or with `norm: 'l2'` in the L2 ball (Madry et al. 2018). */
export const pgd = attackFunction(({ norm }) => (norm === 'l2' ? pgdL2Definition : pgdDefinition))
/** MI-FGSM (Dong et al. 2018). */
export const miFgsm = attackFunction(() => miFgsmDefinition)
