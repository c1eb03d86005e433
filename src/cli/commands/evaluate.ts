import { OptionError } from '../../errors/index.js'
import { attackSpecs } from '../attack-specs.js'
import { type RunOptions, runEvaluation } from '../run-evaluation.js'

/** `signstep evaluate`: every attack at every ε, one table. */
export async function evaluateCommand(model: string, options: Record<string, unknown>): Promise<number> {
  const saveAdversarial = options.saveAdversarial === true
  if (saveAdversarial && options.out === undefined)
    throw new OptionError('OPTION_INVALID', 'needs a folder', {
      subject: '--save-adversarial',
      cure: 'Add --out run/.',
    })
  const attacks = attackSpecs((options.attacks as string).split(',').filter(Boolean), options)
  return runEvaluation(model, { ...(options as unknown as RunOptions), attacks, attackErrors: false, saveAdversarial })
}
