import type { AttackDefinition } from './definition.js'

/**
 * FGSM after noise U(−kε,kε), k = 2, with step ε: clamped to the data range only, never projected onto the ε-ball (de Jorge et al.
 * 2022, "Make Some Noise", algorithm 1). The result may lie (k + 1)·ε away.
 */
export const nFgsmDefinition: AttackDefinition = {
  name: 'n-fgsm',
  norm: 'linf',
  random: () => true,
  alphaOverEps: () => 1,
  start: (eps, restart, { noise = 2 }) => ({ kind: 'uniform', eps, scale: noise, restart }),
  rule: (_eps, alpha, direction) => ({ kind: 'linf', alpha, direction }),
}
