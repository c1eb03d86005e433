import type { AttackDefinition } from './definition.js'

/**
 * FGSM from a random start U(−ε,ε), clamped to the data range before the gradient is taken; step 1.25·ε, projected onto the ball
 * (Wong et al. 2020, "Fast is better than free", algorithm 3).
 */
export const rsFgsmDefinition: AttackDefinition = {
  name: 'rs-fgsm',
  norm: 'linf',
  random: () => true,
  alphaOverEps: () => 1.25,
  start: (eps, restart) => ({ kind: 'uniform', eps, scale: 1, restart }),
  rule: (eps, alpha, direction) => ({ kind: 'linf', alpha, eps, direction }),
}
