import {
  type AttackState,
  lossOfLogits,
  type PerSample,
  type Program,
  predictionsOf,
  type StepResult,
  type StepRule,
} from '../backend/index.js'
import { throwIfAborted } from '../errors/index.js'
import type { Model } from '../model/index.js'
import { loadNative } from '../native/index.js'
import { takeRows } from '../tensor/index.js'
import type { AttackDefinition } from './definition.js'
import { emptyResult, type Writable } from './rows.js'
import { chooseTargets } from './targets.js'
import type { AttackOptions, AttackResult } from './types.js'

/** What all batches of an attack share. */
export interface AttackWork {
  readonly definition: AttackDefinition
  readonly model: Model
  /** [n,C,H,W], `per` elements each. */
  readonly images: Float32Array
  readonly labels: Int32Array
  readonly per: number
  readonly options: AttackOptions
  readonly plan: {
    readonly steps: number
    readonly restarts: number
    /** [n] */
    readonly eps: Float32Array
    readonly alpha: Float32Array
  }
}

/** A sample that retired: its position in what was begun, and what the step said of it. */
interface Fooled {
  readonly at: number
  readonly prediction: number
  readonly loss: number
}

/** One batch: all restarts, the worst case of each sample. */
export class BatchAttack {
  /** The rows after it begin here. */
  readonly to: number
  private readonly work: AttackWork
  private readonly program: Program
  private readonly from: number
  private readonly images: Float32Array
  private readonly labels: Int32Array
  private readonly sampleIndices: Int32Array
  private readonly result: Writable<AttackResult>
  private readonly per: number
  private targets: Int32Array | undefined
  /** Logits of the clean images [n, classes], for KL. */
  private referenceLogits: Float32Array | undefined
  /** Whether each sample of the batch has a result yet. */
  private readonly settled: Uint8Array
  /** Of the first restart, from its begin on until it is run. */
  private begun: AttackState | undefined
  private onSteps: (() => void) | undefined

  private constructor(work: AttackWork, program: Program, from: number) {
    const { images, labels, per, options, plan } = work
    this.work = work
    this.program = program
    this.from = from
    this.to = Math.min(labels.length, from + program.batch)
    this.per = per
    this.images = images.subarray(from * per, this.to * per)
    this.labels = labels.slice(from, this.to)
    this.sampleIndices = options.sampleIndices?.slice(from, this.to) ?? Int32Array.from(this.labels, (_, i) => from + i)
    this.result = emptyResult(this.labels.length, per, plan.steps)
    this.settled = new Uint8Array(this.labels.length)
  }

  /** Sends the batch that begins at row `from` to the device. */
  static async begin(work: AttackWork, program: Program, from: number): Promise<BatchAttack> {
    const { signal, target, seed = 0 } = work.options
    throwIfAborted(signal, 'the attack')
    const batch = new BatchAttack(work, program, from)
    const { images, labels, sampleIndices, to } = batch
    if (target !== undefined) {
      const clean =
        target === 'second' || target === 'least-likely'
          ? await program.forward(images.slice(), labels.length, signal)
          : undefined
      const given = target instanceof Int32Array ? target.slice(from, to) : target
      batch.targets = chooseTargets(given, clean, labels, work.model.classes, seed, sampleIndices)
    }
    if (program.loss === 'kl') batch.referenceLogits = await program.forward(images.slice(), labels.length, signal)
    batch.begun = await batch.send(Int32Array.from(labels.keys()))
    return batch
  }

  /** @param onSteps called once, when the device has been given steps to make: the time to get the next batch ready */
  async run(onSteps: () => void): Promise<AttackResult> {
    this.onSteps = onSteps
    const { options, plan } = this.work
    const { result } = this
    try {
      for (let restart = 0; restart < plan.restarts; restart++) {
        throwIfAborted(options.signal, 'the attack')
        // With early stop a later restart only sees the samples that no earlier one has fooled.
        const active = Int32Array.from(this.labels.keys()).filter(
          (i) => restart === 0 || !options.earlyStop || result.success[i] === 0,
        )
        if (active.length === 0) break
        this.begun ??= await this.send(active)
        await this.restart(restart, active, this.begun)
        await this.dispose()
      }
    } finally {
      await this.dispose()
    }
    if (options.earlyStop) await this.scoreFooled()
    loadNative().distances(result.images, this.images, result.linf, result.l2)
    return result
  }

  /** Frees what is on the device. */
  async dispose(): Promise<void> {
    const state = this.begun
    this.begun = undefined
    await state?.dispose()
  }

  /** The samples `active` (positions in the batch, ascending) as a batch on the device. */
  private send(active: Int32Array): Promise<AttackState> {
    const pick = (vector: Int32Array): Int32Array => Int32Array.from(active, (i) => vector[i])
    return this.program.begin({
      images: active.length === this.labels.length ? this.images : takeRows(this.images, active, this.per),
      labels: pick(this.labels),
      targets: this.targets && pick(this.targets),
      referenceLogits: this.referencesOf(active),
      sampleIndices: pick(this.sampleIndices),
      seed: this.work.options.seed ?? 0,
    })
  }

  /** One restart on the samples `initial` (positions in the batch, ascending). */
  private async restart(restart: number, initial: Int32Array, state: AttackState): Promise<void> {
    const { definition, options, plan } = this.work
    const { result, program } = this
    const { signal, earlyStop = false } = options
    const direction = options.target === undefined ? 1 : -1
    await state.start(definition.start(this.sizes(plan.eps, initial), restart, options))
    const ruleFor = (samples: Int32Array): StepRule =>
      definition.rule(this.sizes(plan.eps, samples), this.sizes(plan.alpha, samples), direction, options)
    const how = { signal, remember: options.iterate === 'best', retire: earlyStop }
    // Where no one looks between the steps, or could not, a device may run them as one.
    const ahead =
      options.onProgress === undefined || program.wholeAttacks
        ? await this.given(state.steps(ruleFor(initial), plan.steps, how))
        : undefined
    /** Positions in `initial`. */
    let active = Int32Array.from(initial.keys())
    const fooled: Fooled[] = []
    for (let step = 0; step < plan.steps && active.length > 0; step++) {
      const found: StepResult =
        ahead?.[step] ?? (await this.given(state.step(ruleFor(active.map((k) => initial[k])), how)))
      result.gradientCalls += active.length
      result.nanGradients += found.nanGradients.reduce((a, b) => a + b, 0)
      result.zeroGradients += found.zeroGradients.reduce((a, b) => a + b, 0)
      const isFooled = Array.from(active, (at, k) => this.isFooled(found.predictions[k], initial[at]))
      if (restart === 0) result.correctAfterStep[step] += isFooled.filter((flag) => !flag).length
      options.onProgress?.({
        step: step + 1,
        steps: plan.steps,
        restart,
        restarts: plan.restarts,
        active: active.length,
        meanLoss: found.loss.reduce((a, b) => a + b, 0) / active.length,
      })
      if (!earlyStop) continue
      for (const [k, at] of active.entries())
        if (isFooled[k]) fooled.push({ at, prediction: found.predictions[k], loss: found.loss[k] })
      active = active.filter((_, k) => !isFooled[k])
    }
    await this.settleFooled(state, initial, fooled)
    if (active.length === 0) return
    const rest = active.map((k) => initial[k])
    const last = await state.score(signal)
    if (restart === 0)
      for (const [k, i] of rest.entries())
        if (!this.isFooled(last.predictions[k], i)) result.correctAfterStep[plan.steps]++
    if (options.iterate === 'best') await this.settleBest(state, rest, last.loss, last.predictions, direction)
    else {
      const images = await state.images()
      for (const [k, i] of rest.entries())
        this.offer(i, images.subarray(k * this.per, (k + 1) * this.per), last.predictions[k], last.loss[k])
    }
  }

  /** Steps that are on their way. */
  private given<T>(steps: Promise<T>): Promise<T> {
    this.onSteps?.()
    this.onSteps = undefined
    return steps
  }

  /** The iterates at which samples were retired become results where they beat what earlier restarts found. */
  private async settleFooled(state: AttackState, initial: Int32Array, fooled: Fooled[]): Promise<void> {
    if (fooled.length === 0) return
    fooled.sort((a, b) => a.at - b.at)
    const images = await state.finished(Int32Array.from(fooled, ({ at }) => at))
    for (const [k, { at, prediction, loss }] of fooled.entries())
      this.offer(initial[at], images.subarray(k * this.per, (k + 1) * this.per), prediction, loss)
  }

  /** Samples were retired by the logits of a gradient's pass; what is reported of them comes from a plain forward, as everywhere. */
  private async scoreFooled(): Promise<void> {
    const { result, labels, program } = this
    const { classes, loss } = program
    const fooled = Int32Array.from(labels.keys()).filter((i) => result.success[i] === 1)
    if (fooled.length === 0) return
    const logits = await program.forward(
      takeRows(result.images, fooled, this.per),
      fooled.length,
      this.work.options.signal,
    )
    const of = (vector: Int32Array): Int32Array => Int32Array.from(fooled, (i) => vector[i])
    const losses = lossOfLogits(loss, logits, classes, {
      labels: of(labels),
      targets: this.targets && of(this.targets),
      referenceLogits: this.referencesOf(fooled),
    })
    for (const [k, prediction] of predictionsOf(logits, classes).entries()) {
      const at = fooled[k]
      result.predictions[at] = prediction
      result.loss[at] = losses[k]
      result.success[at] = Number(this.isFooled(prediction, fooled[k]))
    }
  }

  private isFooled(prediction: number, i: number): boolean {
    return this.targets === undefined ? prediction !== this.labels[i] : prediction === this.targets[i]
  }

  /** The iterate of the best loss on the way, the last one included. What was remembered is scored afresh. */
  private async settleBest(
    state: AttackState,
    active: Int32Array,
    lastLoss: Float32Array,
    lastPredictions: Int32Array,
    direction: 1 | -1,
  ): Promise<void> {
    const [best, last] = [await state.best(), await state.images()]
    const logits = await this.program.forward(best.images.slice(), active.length, this.work.options.signal)
    const predictions = predictionsOf(logits, this.work.model.classes)
    for (const [k, i] of active.entries()) {
      const span = [k * this.per, (k + 1) * this.per] as const
      if (direction * lastLoss[k] >= direction * best.loss[k])
        this.offer(i, last.subarray(...span), lastPredictions[k], lastLoss[k])
      else this.offer(i, best.images.subarray(...span), predictions[k], best.loss[k])
    }
  }

  /** Worst case over restarts: fooled beats not fooled, then the better loss. */
  private offer(i: number, image: Float32Array, prediction: number, loss: number): void {
    const { result, settled } = this
    const success = Number(this.isFooled(prediction, i))
    const direction = this.targets === undefined ? 1 : -1
    const better =
      success > result.success[i] || (success === result.success[i] && direction * loss > direction * result.loss[i])
    if (settled[i] && !better) return
    settled[i] = 1
    result.success[i] = success
    result.predictions[i] = prediction
    result.loss[i] = loss
    result.images.set(image, i * this.per)
  }

  private sizes(vector: Float32Array, active: Int32Array): PerSample {
    return Float32Array.from(active, (i) => vector[this.from + i])
  }

  private referencesOf(samples: Int32Array): Float32Array | undefined {
    return this.referenceLogits && takeRows(this.referenceLogits, samples, this.work.model.classes)
  }
}
