import type { AttackDefinition } from './definition.js'

/**
 * Momentum iterative FGSM: g ← µ·g + ∇/mean|∇|, x ← x + α·sign(g), α = ε/steps, µ = 1 (Dong et al. 2018, "Boosting Adversarial Attacks
 * with Momentum", algorithm 1). Starts at the clean image.
 */
export const miFgsmDefinition: AttackDefinition = {
  name: 'mi-fgsm',
  norm: 'linf',
  defaultSteps: 10,
  random: () => false,
  alphaOverEps: (steps) => 1 / steps,
  start: () => ({ kind: 'clean' }),
  rule: (eps, alpha, direction, { decay = 1 }) => ({ kind: 'momentum', alpha, eps, decay, direction }),
}
