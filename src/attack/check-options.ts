import { checkLoss } from '../autodiff/index.js'
import { checkChoice, checkWhole, OptionError, refuseUnknownOptions } from '../errors/index.js'
import type { AttackDefinition } from './definition.js'
import { parseMagnitude, parseRadius } from './magnitude.js'
import { targetWords } from './targets.js'
import type { AttackOptions } from './types.js'

const OPTIONS = [
  'eps',
  'alpha',
  'steps',
  'restarts',
  'randomStart',
  'start',
  'norm',
  'loss',
  'target',
  'iterate',
  'earlyStop',
  'decay',
  'noise',
  'seed',
  'sampleIndices',
  'signal',
  'onProgress',
]

/**
 * Throws OptionError for keys that no attack has and for values out of their range. An option of another attack (`decay` of PGD) is
 * no fault, so that one set of options can serve several attacks.
 */
export function checkOptions(options: AttackOptions | undefined, definition: AttackDefinition): void {
  if (options?.eps === undefined)
    throw new OptionError('OPTION_INVALID', 'is missing', { subject: 'eps', expected: "a radius, as '8/255'" })
  refuseUnknownOptions(options, OPTIONS, 'an attack')
  checkNorm(options, definition)
  const parse = definition.norm === 'l2' ? parseRadius : parseMagnitude
  parse(options.eps, 'eps')
  if (options.alpha !== undefined) parse(options.alpha, 'alpha')
  checkWhole(options.steps, 1, 'steps')
  checkWhole(options.restarts, 1, 'restarts')
  checkWhole(options.seed, 0, 'seed')
  checkLoss(options.loss, options.target !== undefined)
  checkSlope(options, definition)
  checkChoice(options.iterate, ['last', 'best'], 'iterate')
  checkChoice(options.start, ['ball', 'sphere'], 'start')
  if (!(options.target instanceof Int32Array) && typeof options.target !== 'number')
    checkChoice(options.target, targetWords, 'target')
  checkNotNegative(options.decay, 'decay')
  checkNotNegative(options.noise, 'noise')
}

function checkNorm({ norm }: AttackOptions, definition: AttackDefinition): void {
  checkChoice(norm, ['linf', 'l2'], 'norm')
  if (norm === undefined || norm === definition.norm) return
  throw new OptionError('OPTION_INVALID', `${definition.name} is an attack in ${definition.norm}`, {
    subject: 'norm',
    expected: definition.norm,
    found: norm,
    cure: definition.norm === 'linf' ? 'Use pgd for L2.' : undefined,
  })
}

/** At the clean image KL is zero and flat: what a first step there would follow is the sign of rounding. */
function checkSlope(options: AttackOptions, definition: AttackDefinition): void {
  if (options.loss !== 'kl' || definition.random(options)) return
  throw new OptionError('OPTION_INVALID', 'has no slope at the clean image, where this attack starts', {
    subject: 'loss',
    expected: `cross-entropy, margin or dlr for ${definition.name} from a clean start`,
    found: 'kl',
    cure: 'Use an attack with a random start: pgd, rs-fgsm or n-fgsm.',
  })
}

function checkNotNegative(value: number | undefined, subject: string): void {
  if (value === undefined || (value >= 0 && Number.isFinite(value))) return
  throw new OptionError('OPTION_INVALID', 'is out of range', {
    subject,
    expected: 'a number from 0',
    found: String(value),
  })
}
