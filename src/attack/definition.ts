import type { PerSample, StartRule, StepRule } from '../backend/index.js'
import type { AttackOptions, Norm } from './types.js'

/** An iterative attack, said in the terms every backend understands: where it starts and how it moves. */
export interface AttackDefinition {
  readonly name: string
  readonly norm: Norm
  /** Steps where the options name none; undefined where the attack has exactly one. */
  readonly defaultSteps?: number
  /** Whether it draws random numbers, so that restarts make sense. */
  readonly random: (options: AttackOptions) => boolean
  /** α per unit of ε. */
  readonly alphaOverEps: (steps: number) => number
  readonly start: (eps: PerSample, restart: number, options: AttackOptions) => StartRule
  readonly rule: (eps: PerSample, alpha: PerSample, direction: 1 | -1, options: AttackOptions) => StepRule
}
