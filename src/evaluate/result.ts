import type { Norm } from '../attack/index.js'

/** A share of samples with its 95 % Wilson interval. */
export interface Proportion {
  readonly count: number
  readonly accuracy: number
  readonly low: number
  readonly high: number
}

/** One attack at one ε over all samples. */
export interface AttackOutcome {
  /** As asked for on the command line: `pgd-20`. */
  readonly name: string
  readonly norm: Norm
  /** In pixel units of [0,1] images. */
  readonly eps: number
  readonly steps: number
  readonly restarts: number
  /** Samples that are right on the clean image and still right after the attack, over all samples. */
  readonly robustAccuracy: number
  readonly robust: Proportion
  /** Per-sample gradients: a batch of n counts n. Samples that are wrong before the attack cost none. */
  readonly gradientCalls: number
  /** Time spent in the attack alone, decoding and clean pass not counted. */
  readonly seconds: number
  /** Samples of the set over `seconds`. */
  readonly imagesPerSecond: number
  /** Mean loss of the attacked images, in nats for cross-entropy. */
  readonly meanLoss: number
  readonly nanGradients: number
  /** Steps × samples at which the whole gradient was zero. */
  readonly zeroGradients: number
  /** Robust accuracy at the iterate after k steps of this very run, k = 0 … steps; for attacks of more than one step. */
  readonly stepsCurve?: readonly number[]
}

/** The per-point union of all attacks of one norm at one ε: a sample counts as robust only if it withstands every one of them. */
export interface WorstCase {
  readonly norm: Norm
  readonly eps: number
  readonly attacks: readonly string[]
  readonly robustAccuracy: number
  readonly robust: Proportion
}

export interface Environment {
  readonly signstep: string
  readonly node: string
  readonly platform: string
  readonly processor: string
  readonly backend: string
  readonly instructionSet: string
  readonly threads: number
}

/** What result.json holds and `--json` prints. */
export interface EvaluationResult {
  readonly schema: 1
  readonly command: string
  readonly started: string
  readonly model: {
    readonly file: string
    readonly sha256: string
    readonly input: readonly [number, number, number]
    readonly classes: number
    readonly preprocess: {
      readonly mean: readonly number[]
      readonly std: readonly number[]
      readonly scale: number
      readonly channelOrder: string
    }
  }
  readonly data: { readonly path: string; readonly classes: readonly string[] }
  readonly samples: number
  readonly seed: number
  readonly batch: number
  readonly clean: Proportion & { readonly seconds: number }
  readonly attacks: readonly AttackOutcome[]
  /** One entry per norm and ε, in the order of `attacks`. */
  readonly worstCase: readonly WorstCase[]
  readonly environment: Environment
  /** What a reader should know before trusting a number. */
  readonly warnings: readonly string[]
}

/** A picture for the report: pixels [C,H,W] float32 in [0,1]. */
export interface Example {
  readonly index: number
  readonly file: string
  readonly shape: readonly [number, number, number]
  readonly clean: Float32Array
  readonly adversarial: Float32Array
  readonly label: number
  readonly cleanPrediction: number
  readonly prediction: number
  readonly attack: string
  readonly eps: number
}

/** The 95 % Wilson score interval of `count` out of `total`. */
export function proportion(count: number, total: number): Proportion {
  if (total === 0) return { count, accuracy: Number.NaN, low: 0, high: 1 }
  const z = 1.959963984540054
  const p = count / total
  const centre = (p + (z * z) / (2 * total)) / (1 + (z * z) / total)
  const half = (z / (1 + (z * z) / total)) * Math.sqrt((p * (1 - p)) / total + (z * z) / (4 * total * total))
  return { count, accuracy: p, low: Math.max(0, centre - half), high: Math.min(1, centre + half) }
}
