import { checkChoice, OptionError } from '../errors/index.js'

/**
 * Per-sample losses of logits, in float32. Each is maximised by an attack; targeted forms are minimised towards the target.
 * `cross-entropy` log-sum-exp form; `margin` max_{i≠y} z_i − z_y (Carlini & Wagner 2017); `dlr` Croce & Hein 2020, eq. 6 (needs 3
 * classes), targeted eq. 7 (needs 4); `kl` KL(softmax(reference) ‖ softmax(z)) (TRADES, Zhang et al. 2019, eq. 5): it compares with
 * reference logits, those of the clean image, instead of a label, has no targeted form and no slope at the clean image.
 */
export type LossName = (typeof lossNames)[number]

/** Losses of a label or a target: all but KL. */
export type LabelLossName = Exclude<LossName, 'kl'>

export const lossNames = ['cross-entropy', 'margin', 'dlr', 'kl'] as const

/** Throws OptionError for a loss that is none, and for KL towards a target. */
export function checkLoss(loss: unknown, targeted: boolean): void {
  checkChoice(loss, lossNames, 'loss')
  if (loss !== 'kl' || !targeted) return
  throw new OptionError('OPTION_INVALID', 'has no targeted form: it compares with the clean logits', {
    subject: 'loss',
    expected: 'cross-entropy, margin or dlr for a targeted attack',
    found: 'kl',
    cure: 'Leave the target out, or use --loss cross-entropy.',
  })
}
