import type { LossName } from '../autodiff/index.js'
import type { Graph } from '../graph/index.js'

/**
 * What runs an attack. Attacks are written once against these two interfaces; a backend decides where the buffers live and whether
 * the rule is a kernel of its own (CPU) or the end of the backward pass (CUDA).
 *
 * Shapes: images [n,C,H,W] float32 in [0,1]; per-sample vectors [n]. eps, alpha in pixel units.
 */
export interface Backend {
  readonly name: 'cpu' | 'cuda' | 'sim'
  /** One line for `signstep info` and the report: runtime, version, threads. */
  readonly description: string
  /** What a reader of results should know of the device: a batch that had to be halved. Grows with the programs. */
  readonly notes: readonly string[]
  /** Whether a model's first program is made when it is loaded: that is quick, refuses what no kernel covers and tells what batch has room. */
  readonly eager: boolean
  /** Makes a joint graph runnable. Costly parts (weights on the device, sessions) may wait for the first call that needs them. */
  compile(graphs: ProgramGraphs, options: CompileOptions): Promise<Program>
  /** Ends after the work under way. Programs of a closed backend reject every call. */
  dispose(): Promise<void>
}

export interface ProgramGraphs {
  /** images → logits */
  readonly forward: Graph
  /** images, labels[, targets] (images, reference_logits for KL) → logits, loss [N], input_gradient */
  readonly gradient: Graph
}

export interface CompileOptions {
  /** The largest batch that will be asked for. */
  readonly batch: number
  /** The loss of the gradient graph; `score` computes the same one from logits. */
  readonly loss: LossName
  readonly targeted: boolean
}

export interface Program {
  readonly imageShape: readonly [number, number, number]
  readonly classes: number
  /** The largest `count` of one call. */
  readonly batch: number
  readonly loss: LossName
  readonly targeted: boolean
  /** Whether a whole attack is over before anyone could look at its steps: they are then made in one launch, and told of afterwards. */
  readonly wholeAttacks: boolean
  /** Logits [n, classes] of images in [0,1]. */
  forward(images: Float32Array, count: number, signal?: AbortSignal): Promise<Float32Array>
  /**
   * Copies a batch onto the device, beside what the program is doing: the next batch may be begun while an attack runs. `sampleIndices` key
   * the random numbers, so that results do not depend on the batch split.
   */
  begin(batch: AttackBatch): Promise<AttackState>
  dispose(): Promise<void>
}

export interface AttackBatch {
  readonly images: Float32Array
  readonly labels: Int32Array
  /** Target classes of a targeted loss. */
  readonly targets?: Int32Array
  /** [n, classes] of the KL loss, which compares with them. */
  readonly referenceLogits?: Float32Array
  readonly sampleIndices: Int32Array
  readonly seed: number
}

/** Per-sample vectors accept one number for all. */
export type PerSample = number | Float32Array

export type StartRule =
  | { readonly kind: 'clean' }
  /** x0 + U(-scale·eps, scale·eps), clamped to [0,1]. RS-FGSM and PGD use scale 1, N-FGSM scale k. */
  | { readonly kind: 'uniform'; readonly eps: PerSample; readonly scale: number; readonly restart: number }
  /** Uniform in the L2 ball, or on its sphere; clamped to [0,1]. */
  | { readonly kind: 'l2'; readonly eps: PerSample; readonly where: 'ball' | 'sphere'; readonly restart: number }

/** The update applied to the iterate with the gradient just computed. `direction` −1 descends (targeted attacks). Always ends with a clamp to [0,1]. */
export type StepRule =
  /** x += direction·alpha·sign(g); with eps: projected onto the L∞ ball around x0. */
  | { readonly kind: 'linf'; readonly alpha: PerSample; readonly eps?: PerSample; readonly direction: 1 | -1 }
  /** x += direction·alpha·g/max(‖g‖₂,1e-12), projected onto the L2 ball around x0. */
  | { readonly kind: 'l2'; readonly alpha: PerSample; readonly eps: PerSample; readonly direction: 1 | -1 }
  /** m = decay·m + g/mean|g|; x += direction·alpha·sign(m), projected onto the L∞ ball (Dong et al. 2018). */
  | {
      readonly kind: 'momentum'
      readonly alpha: PerSample
      readonly eps: PerSample
      readonly decay: number
      readonly direction: 1 | -1
    }

/** About the iterate at which the gradient was taken, that is before the rule moved it. All [n], n samples under attack at that step. */
export interface StepResult {
  readonly loss: Float32Array
  readonly predictions: Int32Array
  /** Elements of the gradient that were NaN: they moved nothing. */
  readonly nanGradients: Int32Array
  /** 1 where the whole gradient of the sample was zero. */
  readonly zeroGradients: Uint8Array
}

export interface StepOptions {
  /** Rejects with AbortedError before work starts if it is aborted, and at once when it is aborted while the step runs. */
  readonly signal?: AbortSignal
  /**
   * Samples that are fooled at an iterate (targeted: that are taken for the target) stay there and are finished: no later step sees them,
   * `count` falls to those left, which keep their order, and `finished` tells where they are. No other call may be made before such a step
   * is over; one that was aborted ends the attack.
   */
  readonly retire?: boolean
  /** Remembers, per sample, the iterate of the best loss since `start` (highest; lowest where the rule descends): see `best`. */
  readonly remember?: boolean
}

export interface Scores {
  readonly loss: Float32Array
  /** The class of the highest logit; −1 where a logit is NaN. */
  readonly predictions: Int32Array
  /** [n, classes] */
  readonly logits: Float32Array
}

export interface BestIterates {
  readonly images: Float32Array
  readonly loss: Float32Array
}

/** One batch under attack; lives on the device. Calls run in the order they are made. */
export interface AttackState {
  readonly count: number
  start(rule: StartRule): Promise<void>
  /** One gradient at the current iterate, then the rule. */
  step(rule: StepRule, options?: StepOptions): Promise<StepResult>
  /** `count` such steps with no look between them: one launch where the device can. */
  steps(rule: StepRule, count: number, options?: StepOptions): Promise<StepResult[]>
  /** Loss and predictions of the current iterate, by a forward pass alone. */
  score(signal?: AbortSignal): Promise<Scores>
  /** The current iterate [n,C,H,W], or only these rows of it; a copy. */
  images(rows?: Int32Array): Promise<Float32Array>
  /** What `step` with `remember` has seen since `start`; the iterate after the last step is not among it. */
  best(): Promise<BestIterates>
  /** The gradient at the current iterate [n,C,H,W], without moving it. */
  gradient(signal?: AbortSignal): Promise<Float32Array>
  /** The iterates [n,C,H,W] at which samples were finished, by their positions in the batch as it was begun. */
  finished(positions: Int32Array): Promise<Float32Array>
  dispose(): Promise<void>
}
