import type { AttackDefinition } from './definition.js'

/**
 * Projected gradient descent in the L∞ ball from a uniform start, both clamped to [0,1]; α = 2.5·ε/steps (Madry et al. 2018, "Towards
 * Deep Learning Models Resistant to Adversarial Attacks", section 2.1).
 */
export const pgdDefinition: AttackDefinition = {
  name: 'pgd',
  norm: 'linf',
  defaultSteps: 10,
  random: ({ randomStart = true }) => randomStart,
  alphaOverEps: (steps) => 2.5 / steps,
  start: (eps, restart, { randomStart = true }) =>
    randomStart ? { kind: 'uniform', eps, scale: 1, restart } : { kind: 'clean' },
  rule: (eps, alpha, direction) => ({ kind: 'linf', alpha, eps, direction }),
}

/** The same in the L2 ball: steps of α·g/max(‖g‖,1e-12), a start uniform in the ball or on its sphere. */
export const pgdL2Definition: AttackDefinition = {
  ...pgdDefinition,
  name: 'pgd-l2',
  norm: 'l2',
  start: (eps, restart, { randomStart = true, start = 'ball' }) =>
    randomStart ? { kind: 'l2', eps, where: start, restart } : { kind: 'clean' },
  rule: (eps, alpha, direction) => ({ kind: 'l2', alpha, eps, direction }),
}
