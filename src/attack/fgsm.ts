import type { AttackDefinition } from './definition.js'

/** x + ε·sign(∇), clamped to [0,1] (Goodfellow et al. 2015, "Explaining and Harnessing Adversarial Examples", section 4). */
export const fgsmDefinition: AttackDefinition = {
  name: 'fgsm',
  norm: 'linf',
  random: () => false,
  alphaOverEps: () => 1,
  start: () => ({ kind: 'clean' }),
  rule: (eps, alpha, direction) => ({ kind: 'linf', alpha, eps, direction }),
}
