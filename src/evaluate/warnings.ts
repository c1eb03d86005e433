import type { Model } from '../model/index.js'
import type { AttackOutcome } from './result.js'

/** The order of strength that a sound evaluation shows: a later one must not be weaker. */
const strength = (outcome: AttackOutcome): number => outcome.steps * outcome.restarts

/** Signs of gradient masking or of a wrong set-up (Carlini et al. 2019, "On Evaluating Adversarial Robustness", section 5). */
export function warnings(
  model: Model,
  samples: number,
  cleanAccuracy: number,
  outcomes: readonly AttackOutcome[],
): string[] {
  const found: string[] = [...model.notes]
  const chance = 1 / model.classes
  if (cleanAccuracy <= 1.5 * chance && model.classes > 2)
    found.push(
      `Clean accuracy ${percent(cleanAccuracy)} is at chance level for ${model.classes} classes: check --preprocess or --mean/--std, --channel-order, --scale and the order of the classes.`,
    )
  for (const outcome of outcomes) {
    const where = `${outcome.name} at eps ${outcome.eps.toPrecision(3)}`
    if (outcome.nanGradients > 0)
      found.push(`${where}: ${outcome.nanGradients} gradient elements were NaN and moved nothing.`)
    const share = outcome.gradientCalls === 0 ? 0 : outcome.zeroGradients / outcome.gradientCalls
    if (share > 0.01)
      found.push(
        `${where}: ${percent(share)} of the gradients were exactly zero: the loss is saturated or the gradient is masked.`,
      )
  }
  for (const weak of outcomes)
    for (const strong of outcomes) {
      if (strong.norm !== weak.norm || strong.eps !== weak.eps || strength(strong) <= strength(weak)) continue
      if (strong.robustAccuracy > weak.robustAccuracy + slack(weak, samples))
        found.push(
          `${weak.name} is stronger than ${strong.name} at eps ${weak.eps.toPrecision(3)} (${percent(weak.robustAccuracy)} against ${percent(strong.robustAccuracy)}): a sign of gradient masking.`,
        )
    }
  return found
}

const percent = (share: number): string => `${(100 * share).toFixed(1)} %`

/** Two points (random starts alone move results by half a point on 1,000 samples), or two standard errors of a small set. */
function slack({ robustAccuracy: p }: AttackOutcome, samples: number): number {
  return Math.max(0.02, 2 * Math.sqrt(Math.max(p * (1 - p), 0.05) / samples))
}
