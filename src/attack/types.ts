import type { LossName } from '../autodiff/index.js'
import type { targetWords } from './targets.js'

export type Norm = 'linf' | 'l2'

/** ε or α in pixel units of [0,1] images: a number, a fraction as text (`'8/255'`), or one value per sample. */
export type Magnitude = number | string | Float32Array

/** How targeted attacks choose their target: a class per sample, one class for all, or `random`, `least-likely`, `second` (most likely wrong class). */
export type Target = Int32Array | number | (typeof targetWords)[number]

export interface AttackOptions {
  readonly eps: Magnitude
  /** Default 2.5·eps/steps for PGD (both norms), 1.25·eps for RS-FGSM, eps for N-FGSM, eps/steps for MI-FGSM. */
  readonly alpha?: Magnitude
  readonly steps?: number
  readonly restarts?: number
  /** PGD starts at random unless this is false. */
  readonly randomStart?: boolean
  /** Where a random L2 start is drawn. Default `ball`. */
  readonly start?: 'ball' | 'sphere'
  readonly norm?: Norm
  /** What is climbed. Default `cross-entropy`. `kl` compares with the model's logits of the clean images (one forward pass more) and needs a random start. */
  readonly loss?: LossName
  readonly target?: Target
  /** Which iterate is returned: the last one, or the one of the highest loss. */
  readonly iterate?: 'last' | 'best'
  /** A sample is retired at its first iterate that fools the model: fewer gradients, and no sample fewer is fooled (one fooled on the way might be right again at the end). */
  readonly earlyStop?: boolean
  /** Momentum decay of MI-FGSM. Default 1. */
  readonly decay?: number
  /** Width of N-FGSM's noise in units of eps. Default 2. */
  readonly noise?: number
  readonly seed?: number
  /** Positions that key the random numbers; 0, 1, … by default. */
  readonly sampleIndices?: Int32Array
  readonly signal?: AbortSignal
  readonly onProgress?: (progress: AttackProgress) => void
}

export interface AttackProgress {
  readonly step: number
  readonly steps: number
  readonly restart: number
  readonly restarts: number
  /** Samples still under attack. */
  readonly active: number
  readonly meanLoss: number
}

/** Everything per sample, in the order of the input. */
export interface AttackResult {
  /** [n,C,H,W] float32 in [0,1]. */
  readonly images: Float32Array
  /** 1 where the final image is misclassified (targeted: classified as the target). A clean error counts. */
  readonly success: Uint8Array
  readonly predictions: Int32Array
  /** Of the final image, under the attack's loss. */
  readonly loss: Float32Array
  readonly linf: Float32Array
  readonly l2: Float32Array
  /** Samples not fooled at the iterate after k steps of the first restart, k = 0 … steps. */
  readonly correctAfterStep: Int32Array
  /** Per-sample gradients computed in all (a batch of n counts n). */
  readonly gradientCalls: number
  readonly nanGradients: number
  readonly zeroGradients: number
}
