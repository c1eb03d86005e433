import type { LossName } from '../../autodiff/index.js'
import type { Kernels } from '../../native/index.js'
import { takeRows } from '../../tensor/index.js'
import type { BestIterates, PerSample, StartRule, StepRule } from '../program.js'
import type { Argument } from './protocol.js'

/** The buffers of one batch under attack, in the worker, and the kernels' work on them. */
export class AttackBuffers {
  readonly imageShape: readonly number[]
  readonly classes: number
  readonly loss: LossName
  readonly seed: number
  labels: Int32Array
  targets: Int32Array | undefined
  /** [n, classes], for KL. */
  referenceLogits: Float32Array | undefined
  /** The iterate [n,C,H,W]. */
  x: Float32Array
  private x0: Float32Array
  private sampleIndices: Int32Array
  private momentum: Float32Array | undefined
  private bestImages: Float32Array | undefined
  private bestLoss: Float32Array | undefined
  /** Positions in the batch as it was begun. */
  private order: Int32Array
  private readonly finishedImages = new Map<number, Float32Array>()

  constructor(batch: Omit<Argument<'begin'>, 'state'>) {
    this.x0 = batch.images
    this.x = batch.images.slice()
    this.labels = batch.labels
    this.targets = batch.targets
    this.referenceLogits = batch.referenceLogits
    this.sampleIndices = batch.sampleIndices
    this.order = Int32Array.from(batch.labels.keys())
    this.seed = batch.seed
    this.imageShape = batch.imageShape
    this.classes = batch.classes
    this.loss = batch.loss
  }

  get count(): number {
    return this.labels.length
  }

  get shape(): readonly number[] {
    return [this.count, ...this.imageShape]
  }

  private get per(): number {
    return this.imageShape.reduce((a, b) => a * b, 1)
  }

  start(kernels: Kernels, rule: StartRule): void {
    this.momentum = undefined
    this.bestImages = undefined
    this.bestLoss = undefined
    const seed = BigInt(this.seed)
    if (rule.kind === 'clean') this.x.set(this.x0)
    else if (rule.kind === 'uniform')
      kernels.startUniform(
        this.x,
        this.x0,
        this.perSample(rule.eps),
        rule.scale,
        seed,
        this.sampleIndices,
        rule.restart,
      )
    else
      kernels.startL2(
        this.x,
        this.x0,
        this.perSample(rule.eps),
        rule.where === 'sphere',
        seed,
        this.sampleIndices,
        rule.restart,
      )
  }

  /** Applies the rule; rows with `held` 1 stay where they are. */
  step(
    kernels: Kernels,
    rule: StepRule,
    gradient: Float32Array,
    held: Uint8Array | undefined,
  ): { nan: Int32Array; zero: Uint8Array } {
    const nan = new Int32Array(this.count)
    const zero = new Uint8Array(this.count)
    // A step of size 0 leaves an iterate that lies in its ball unchanged, bit for bit.
    const alpha = this.perSample(rule.alpha).map((size, i) => (held?.[i] ? 0 : size))
    const { x, x0 } = this
    if (rule.kind === 'linf') {
      const eps = rule.eps === undefined ? new Float32Array(this.count).fill(-1) : this.perSample(rule.eps)
      kernels.stepLinf(x, x0, gradient, alpha, eps, rule.direction, nan, zero)
    } else if (rule.kind === 'l2') {
      kernels.stepL2(x, x0, gradient, alpha, this.perSample(rule.eps), rule.direction, nan, zero)
    } else {
      this.momentum ??= new Float32Array(x.length)
      kernels.stepMomentum(
        x,
        x0,
        gradient,
        this.momentum,
        alpha,
        this.perSample(rule.eps),
        rule.decay,
        rule.direction,
        nan,
        zero,
      )
    }
    return { nan, zero }
  }

  /** Keeps each sample's iterate if its loss is the best so far in the rule's direction. */
  remember(loss: Float32Array, direction: 1 | -1): void {
    this.bestImages ??= new Float32Array(this.x.length)
    this.bestLoss ??= new Float32Array(this.count).fill(
      direction === 1 ? Number.NEGATIVE_INFINITY : Number.POSITIVE_INFINITY,
    )
    for (let i = 0; i < this.count; i++) {
      if (!(direction * loss[i] > direction * this.bestLoss[i])) continue
      this.bestLoss[i] = loss[i]
      this.bestImages.set(this.x.subarray(i * this.per, (i + 1) * this.per), i * this.per)
    }
  }

  best(): BestIterates {
    return {
      images: (this.bestImages ?? this.x).slice(),
      loss: (this.bestLoss ?? new Float32Array(this.count).fill(Number.NaN)).slice(),
    }
  }

  images(rows?: Int32Array): Float32Array {
    return rows === undefined ? this.x.slice() : this.take(this.x, rows)
  }

  /** Samples with flag 1 are finished where they are; the others move up. Returns the rows of those. */
  retire(fooled: Uint8Array): Int32Array {
    const { per } = this
    for (const [i, flag] of fooled.entries())
      if (flag) this.finishedImages.set(this.order[i], this.x.slice(i * per, (i + 1) * per))
    const kept = Int32Array.from(fooled.keys()).filter((i) => fooled[i] === 0)
    this.keep(kept)
    return kept
  }

  finished(positions: Int32Array): Float32Array {
    const out = new Float32Array(positions.length * this.per)
    for (const [k, position] of positions.entries()) {
      const image = this.finishedImages.get(position)
      if (image === undefined) throw new Error(`sample ${position} of the batch has not been finished`)
      out.set(image, k * this.per)
    }
    return out
  }

  private keep(rows: Int32Array): void {
    this.x = this.take(this.x, rows)
    this.x0 = this.take(this.x0, rows)
    this.momentum &&= this.take(this.momentum, rows)
    this.bestImages &&= this.take(this.bestImages, rows)
    this.bestLoss = this.bestLoss && Float32Array.from(rows, (i) => this.bestLoss?.[i] ?? 0)
    const of = (vector: Int32Array): Int32Array => Int32Array.from(rows, (i) => vector[i])
    this.labels = of(this.labels)
    this.targets &&= of(this.targets)
    this.sampleIndices = of(this.sampleIndices)
    this.referenceLogits &&= takeRows(this.referenceLogits, rows, this.classes)
    this.order = of(this.order)
  }

  private take(images: Float32Array, rows: Int32Array): Float32Array {
    return takeRows(images, rows, this.per)
  }

  private perSample(value: PerSample): Float32Array {
    return typeof value === 'number' ? new Float32Array(this.count).fill(value) : value
  }
}
