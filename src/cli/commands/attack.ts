import { OptionError } from '../../errors/index.js'
import { attackSpecs } from '../attack-specs.js'
import { type RunOptions, runEvaluation } from '../run-evaluation.js'

/** `signstep attack`: one attack at one ε on every image, right or wrong before; the adversarial images are always written. */
export async function attackCommand(model: string, options: Record<string, unknown>): Promise<number> {
  if (options.out === undefined)
    throw new OptionError('OPTION_INVALID', 'is needed', {
      subject: '--out',
      expected: 'a folder for the adversarial images',
      cure: 'Add --out run/.',
    })
  const attacks = attackSpecs([options.attack as string], options)
  if (attacks.length > 1)
    throw new OptionError('OPTION_INVALID', 'takes one value here', {
      subject: '--eps',
      found: String(options.eps),
      cure: 'Use `signstep evaluate` for several.',
    })
  return runEvaluation(model, {
    ...(options as unknown as RunOptions),
    attacks,
    attackErrors: true,
    saveAdversarial: true,
  })
}
