import type { LossName } from '../autodiff/index.js'
import { nearest, OptionError } from '../errors/index.js'
import type { Model } from '../model/index.js'
import { checkOptions } from './check-options.js'
import type { AttackDefinition } from './definition.js'
import { fgsmDefinition } from './fgsm.js'
import { parseMagnitude, parseRadius } from './magnitude.js'
import { miFgsmDefinition } from './mi-fgsm.js'
import { nFgsmDefinition } from './n-fgsm.js'
import { pgdDefinition, pgdL2Definition } from './pgd.js'
import { rsFgsmDefinition } from './rs-fgsm.js'
import { type PreparedAttack, prepareAttack, runAttack } from './run-attack.js'
import type { AttackOptions, AttackResult, Norm } from './types.js'

const definitions: readonly AttackDefinition[] = [
  fgsmDefinition,
  rsFgsmDefinition,
  nFgsmDefinition,
  pgdL2Definition,
  pgdDefinition,
  miFgsmDefinition,
]

/** The names that `parseAttack` knows, without numbers of steps and restarts. */
export const attackNames: readonly string[] = definitions.map(({ name }) => name)

/** Options of an attack that is to be run later, on many batches. */
export type AttackSpecOptions = Omit<AttackOptions, 'eps' | 'seed' | 'sampleIndices' | 'signal' | 'onProgress'> & {
  readonly eps: number | string
}

/** An attack with its options, ready to be run on any model: what `evaluate` takes. */
export interface AttackSpec {
  /** As it was asked for: `pgd-20`. */
  readonly name: string
  readonly norm: Norm
  readonly eps: number
  readonly steps: number
  readonly restarts: number
  readonly loss: LossName
  run(model: Model, images: Float32Array, labels: Int32Array, options?: RunOptions): Promise<AttackResult>
  /** The same in two parts: what comes first, with the upload of the first batch, may be done while another attack runs. */
  prepare(model: Model, images: Float32Array, labels: Int32Array, options?: RunOptions): Promise<PreparedAttack>
}

type RunOptions = Pick<AttackOptions, 'seed' | 'sampleIndices' | 'signal' | 'onProgress'>

/**
 * An attack by its name: `fgsm`, `rs-fgsm`, `n-fgsm`, `pgd-20` (steps), `pgd-50-10` (restarts too; α = 2/255 unless given), `pgd-l2-20`,
 * `mi-fgsm-10`. Throws OptionError for an unknown name, with the nearest known one.
 */
export function parseAttack(name: string, options: AttackSpecOptions): AttackSpec {
  const found = /^(.+?)(?:-([1-9]\d*))?(?:-([1-9]\d*))?$/.exec(name)
  const base = found?.[1] ?? name
  let definition = definitions.find((candidate) => candidate.name === base)
  if (definition === undefined) {
    const near = nearest(base, attackNames)
    throw new OptionError('OPTION_INVALID', 'there is no such attack', {
      subject: 'attack',
      expected: attackNames.join(', '),
      found: `'${name}'`,
      cure: near && `Did you mean ${near}?`,
    })
  }
  if (options?.norm === 'l2' && definition === pgdDefinition) definition = pgdL2Definition
  const [steps, restarts] = [found?.[2], found?.[3]].map((text) => (text === undefined ? undefined : Number(text)))
  if (steps !== undefined && definition.defaultSteps === undefined)
    throw new OptionError('OPTION_INVALID', `${definition.name} takes exactly one step`, {
      subject: 'attack',
      found: `'${name}'`,
      cure: 'Use pgd for several steps.',
    })
  const whole: AttackOptions = {
    ...options,
    ...(steps !== undefined && { steps }),
    ...(restarts !== undefined && { restarts }),
    ...(restarts !== undefined && options?.alpha === undefined && definition.norm === 'linf' && { alpha: 2 / 255 }),
  }
  checkOptions(whole, definition)
  const eps = (definition.norm === 'l2' ? parseRadius : parseMagnitude)(options.eps, 'eps') as number
  const chosen = definition
  return {
    name,
    norm: definition.norm,
    eps,
    steps: definition.defaultSteps === undefined ? 1 : (whole.steps ?? definition.defaultSteps),
    restarts: definition.random(whole) ? (whole.restarts ?? 1) : 1,
    loss: whole.loss ?? 'cross-entropy',
    run: (model, images, labels, rest = {}) => runAttack(chosen, model, images, labels, { ...whole, ...rest }),
    prepare: (model, images, labels, rest = {}) => prepareAttack(chosen, model, images, labels, { ...whole, ...rest }),
  }
}

/** A function of the library for a definition: checks the options and runs it. */
export const attackFunction =
  (choose: (options: Partial<AttackOptions>) => AttackDefinition) =>
  async (model: Model, images: Float32Array, labels: Int32Array, options: AttackOptions): Promise<AttackResult> =>
    runAttack(choose(options ?? {}), model, images, labels, options)
