import {
  type AttackState,
  lossOfLogits,
  type PerSample,
  type Program,
  predictionsOf,
  type StepRule,
} from '../backend/index.js'
import { DataError, throwIfAborted } from '../errors/index.js'
import type { Model } from '../model/index.js'
import { loadNative } from '../native/index.js'
import { takeRows } from '../tensor/index.js'
import { checkOptions } from './check-options.js'
import type { AttackDefinition } from './definition.js'
import { parseMagnitude, parseRadius } from './magnitude.js'
import { chooseTargets } from './targets.js'
import type { AttackOptions, AttackResult } from './types.js'

/**
 * Runs an attack on images [n,C,H,W] in [0,1] with labels [n], in batches of the model's size. The verdicts come from a fresh forward
 * pass over the images that are returned.
 */
export async function runAttack(
  definition: AttackDefinition,
  model: Model,
  images: Float32Array,
  labels: Int32Array,
  options: AttackOptions,
): Promise<AttackResult> {
  checkOptions(options, definition)
  const [c, h, w] = model.imageShape
  const per = c * h * w
  const n = labels.length
  if (!(images instanceof Float32Array) || !(labels instanceof Int32Array))
    throw new DataError('DATA_INVALID', 'are of the wrong type', {
      subject: 'images and labels',
      expected: 'a Float32Array and an Int32Array',
    })
  if (images.length !== n * per)
    throw new DataError('SHAPE_MISMATCH', 'images and labels do not fit together', {
      subject: 'images',
      expected: `${n} × ${c} × ${h} × ${w} = ${n * per} floats`,
      found: String(images.length),
    })
  const stray = labels.find((label) => label < 0 || label >= model.classes)
  if (stray !== undefined)
    throw new DataError('DATA_CLASSES', 'a label is not a class of the model', {
      subject: 'labels',
      expected: `0 to ${model.classes - 1}`,
      found: String(stray),
    })
  checkRange(images)
  const { target, sampleIndices } = options
  if (target instanceof Int32Array) checkLength(target, n, 'target')
  if (sampleIndices !== undefined) checkLength(sampleIndices, n, 'sampleIndices')
  const plan = planOf(definition, options, n)
  const program = await model.program({ loss: options.loss ?? 'cross-entropy', targeted: options.target !== undefined })
  const result = emptyResult(n, per, plan.steps)
  for (let from = 0; from < n; from += program.batch) {
    const to = Math.min(n, from + program.batch)
    const rows = { from, to, images: images.subarray(from * per, to * per), labels: labels.slice(from, to) }
    await new BatchAttack(definition, plan, model, program, rows, options, result).run()
  }
  return result
}

/** Wrong scales are the most common mistake with attacks: catch them before they cost a run. */
function checkRange(images: Float32Array): void {
  let [low, high] = [0, 1]
  for (let i = 0; i < images.length; i++) {
    const value = images[i]
    if (value < low) low = value
    else if (value > high) high = value
    else if (Number.isNaN(value))
      throw new DataError('DATA_INVALID', 'holds NaN', {
        subject: 'images',
        expected: 'numbers in [0,1]',
        found: `NaN at element ${i}`,
      })
  }
  if (low < -1e-6 || high > 1 + 1e-6)
    throw new DataError('DATA_INVALID', 'is outside [0,1]', {
      subject: 'images',
      expected: 'pixels in [0,1], not normalised',
      found: `${low.toPrecision(4)} to ${high.toPrecision(4)}`,
      cure:
        high > 2
          ? 'Divide 8-bit images by 255.'
          : 'Leave normalisation to the model: --preprocess or --mean and --std.',
    })
}

interface Plan {
  readonly steps: number
  readonly restarts: number
  readonly eps: Float32Array
  readonly alpha: Float32Array
}

function planOf(definition: AttackDefinition, options: AttackOptions, n: number): Plan {
  const steps = definition.defaultSteps === undefined ? 1 : (options.steps ?? definition.defaultSteps)
  const parse = definition.norm === 'l2' ? parseRadius : parseMagnitude
  const eps = perSample(parse(options.eps, 'eps'), n, 'eps')
  const factor = definition.alphaOverEps(steps)
  const alpha =
    options.alpha === undefined
      ? eps.map((size) => size * factor)
      : perSample(parse(options.alpha, 'alpha'), n, 'alpha')
  return { steps, restarts: definition.random(options) ? (options.restarts ?? 1) : 1, eps, alpha }
}

function perSample(value: number | Float32Array, n: number, option: string): Float32Array {
  if (typeof value === 'number') return new Float32Array(n).fill(value)
  checkLength(value, n, option)
  return value
}

function checkLength(value: Float32Array | Int32Array, n: number, option: string): void {
  if (value.length === n) return
  throw new DataError('SHAPE_MISMATCH', 'has the wrong length', {
    subject: option,
    expected: `one value a sample, ${n}`,
    found: String(value.length),
  })
}

type Writable<T> = { -readonly [K in keyof T]: T[K] }

function emptyResult(n: number, per: number, steps: number): Writable<AttackResult> {
  return {
    images: new Float32Array(n * per),
    success: new Uint8Array(n),
    predictions: new Int32Array(n),
    loss: new Float32Array(n),
    linf: new Float32Array(n),
    l2: new Float32Array(n),
    correctAfterStep: new Int32Array(steps + 1),
    gradientCalls: 0,
    nanGradients: 0,
    zeroGradients: 0,
  }
}

/** One batch: all restarts, the worst case of each sample, written into its rows of the result. */
class BatchAttack {
  private readonly definition: AttackDefinition
  private readonly plan: Plan
  private readonly model: Model
  private readonly program: Program
  private readonly rows: { from: number; to: number; images: Float32Array; labels: Int32Array }
  private readonly options: AttackOptions
  private readonly result: Writable<AttackResult>
  private readonly per: number
  private targets: Int32Array | undefined
  /** Logits of the clean images [n, classes], for KL. */
  private referenceLogits: Float32Array | undefined
  /** Whether each sample of the batch has a result yet. */
  private readonly settled: Uint8Array

  constructor(
    definition: AttackDefinition,
    plan: Plan,
    model: Model,
    program: Program,
    rows: { from: number; to: number; images: Float32Array; labels: Int32Array },
    options: AttackOptions,
    result: Writable<AttackResult>,
  ) {
    this.definition = definition
    this.plan = plan
    this.model = model
    this.program = program
    this.rows = rows
    this.options = options
    this.result = result
    this.per = rows.images.length / rows.labels.length
    this.settled = new Uint8Array(rows.labels.length)
  }

  async run(): Promise<void> {
    const { rows, options, plan } = this
    const { seed = 0, signal, target } = options
    const sampleIndices =
      options.sampleIndices?.slice(rows.from, rows.to) ?? Int32Array.from(rows.labels, (_, i) => rows.from + i)
    if (target !== undefined) {
      const clean =
        target === 'second' || target === 'least-likely'
          ? await this.program.forward(rows.images.slice(), rows.labels.length, signal)
          : undefined
      const given = target instanceof Int32Array ? target.slice(rows.from, rows.to) : target
      this.targets = chooseTargets(given, clean, rows.labels, this.model.classes, seed, sampleIndices)
    }
    if (this.program.loss === 'kl')
      this.referenceLogits = await this.program.forward(rows.images.slice(), rows.labels.length, signal)
    for (let restart = 0; restart < plan.restarts; restart++) {
      throwIfAborted(signal, 'the attack')
      // With early stop a later restart only sees the samples that no earlier one has fooled.
      const active = Int32Array.from(rows.labels.keys()).filter(
        (i) => restart === 0 || !options.earlyStop || this.result.success[rows.from + i] === 0,
      )
      if (active.length === 0) break
      await this.restart(restart, active, seed, sampleIndices)
    }
    if (options.earlyStop) await this.scoreFooled()
    const span = (array: Float32Array, width: number): Float32Array =>
      array.subarray(rows.from * width, rows.to * width)
    loadNative().distances(
      span(this.result.images, this.per),
      rows.images,
      span(this.result.linf, 1),
      span(this.result.l2, 1),
    )
  }

  /** One restart on the samples `active` (positions in the batch, ascending). */
  private async restart(restart: number, initial: Int32Array, seed: number, sampleIndices: Int32Array): Promise<void> {
    const { definition, options, plan, rows, program } = this
    const { signal, earlyStop = false } = options
    const direction = options.target === undefined ? 1 : -1
    let active = initial
    const pick = (vector: Int32Array): Int32Array => Int32Array.from(active, (i) => vector[i])
    const state = await program.begin({
      images: takeRows(rows.images, active, this.per),
      labels: pick(rows.labels),
      targets: this.targets && pick(this.targets),
      referenceLogits: this.referencesOf(active),
      sampleIndices: pick(sampleIndices),
      seed,
    })
    try {
      await state.start(definition.start(this.sizes(plan.eps, active), restart, options))
      const ruleFor = (samples: Int32Array): StepRule =>
        definition.rule(this.sizes(plan.eps, samples), this.sizes(plan.alpha, samples), direction, options)
      const remember = options.iterate === 'best'
      // Where no one looks between the steps, or could not, a device may run them as one.
      const ahead =
        !earlyStop && (options.onProgress === undefined || program.wholeAttacks)
          ? await state.steps(ruleFor(active), plan.steps, { signal, remember })
          : undefined
      for (let step = 0; step < plan.steps; step++) {
        const found = ahead?.[step] ?? (await state.step(ruleFor(active), { signal, hold: earlyStop, remember }))
        this.result.gradientCalls += active.length
        this.result.nanGradients += found.nanGradients.reduce((a, b) => a + b, 0)
        this.result.zeroGradients += found.zeroGradients.reduce((a, b) => a + b, 0)
        const fooled = Array.from(active, (i, k) => this.isFooled(found.predictions[k], i))
        if (restart === 0) this.result.correctAfterStep[step] += fooled.filter((flag) => !flag).length
        options.onProgress?.({
          step: step + 1,
          steps: plan.steps,
          restart,
          restarts: plan.restarts,
          active: active.length,
          meanLoss: found.loss.reduce((a, b) => a + b, 0) / active.length,
        })
        if (!earlyStop || !fooled.includes(true)) continue
        const out = Int32Array.from(fooled.keys()).filter((k) => fooled[k])
        const stay = Int32Array.from(fooled.keys()).filter((k) => !fooled[k])
        await this.settle(state, out, active, found.predictions, found.loss)
        active = Int32Array.from(stay, (k) => active[k])
        if (active.length === 0) return
        await state.keep(stay)
      }
      const last = await state.score(signal)
      if (restart === 0)
        for (const [k, i] of active.entries())
          if (!this.isFooled(last.predictions[k], i)) this.result.correctAfterStep[plan.steps]++
      const all = Int32Array.from(active.keys())
      if (options.iterate === 'best') await this.settleBest(state, active, last.loss, last.predictions, direction)
      else await this.settle(state, all, active, last.predictions, last.loss)
    } finally {
      await state.dispose()
    }
  }

  /** Samples were retired by the logits of a gradient's pass; what is reported of them comes from a plain forward, as everywhere. */
  private async scoreFooled(): Promise<void> {
    const { result, rows, program } = this
    const { classes, loss } = program
    const fooled = Int32Array.from(rows.labels.keys()).filter((i) => result.success[rows.from + i] === 1)
    if (fooled.length === 0) return
    const images = takeRows(result.images.subarray(rows.from * this.per, rows.to * this.per), fooled, this.per)
    const logits = await program.forward(images, fooled.length, this.options.signal)
    const of = (vector: Int32Array): Int32Array => Int32Array.from(fooled, (i) => vector[i])
    const losses = lossOfLogits(loss, logits, classes, {
      labels: of(rows.labels),
      targets: this.targets && of(this.targets),
      referenceLogits: this.referencesOf(fooled),
    })
    for (const [k, prediction] of predictionsOf(logits, classes).entries()) {
      const at = rows.from + fooled[k]
      result.predictions[at] = prediction
      result.loss[at] = losses[k]
      result.success[at] = Number(this.isFooled(prediction, fooled[k]))
    }
  }

  private isFooled(prediction: number, i: number): boolean {
    return this.targets === undefined ? prediction !== this.rows.labels[i] : prediction === this.targets[i]
  }

  /** Takes the iterates at `positions` of the state as results where they beat what earlier restarts found. */
  private async settle(
    state: AttackState,
    positions: Int32Array,
    active: Int32Array,
    predictions: Int32Array,
    loss: Float32Array,
  ): Promise<void> {
    const images = await state.images(positions)
    for (const [k, position] of positions.entries())
      this.offer(
        active[position],
        images.subarray(k * this.per, (k + 1) * this.per),
        predictions[position],
        loss[position],
      )
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
    const logits = await this.program.forward(best.images.slice(), active.length, this.options.signal)
    const predictions = predictionsOf(logits, this.model.classes)
    for (const [k, i] of active.entries()) {
      const span = [k * this.per, (k + 1) * this.per] as const
      if (direction * lastLoss[k] >= direction * best.loss[k])
        this.offer(i, last.subarray(...span), lastPredictions[k], lastLoss[k])
      else this.offer(i, best.images.subarray(...span), predictions[k], best.loss[k])
    }
  }

  /** Worst case over restarts: fooled beats not fooled, then the better loss. */
  private offer(i: number, image: Float32Array, prediction: number, loss: number): void {
    const { result, rows, settled } = this
    const at = rows.from + i
    const success = Number(this.isFooled(prediction, i))
    const direction = this.targets === undefined ? 1 : -1
    const better =
      success > result.success[at] || (success === result.success[at] && direction * loss > direction * result.loss[at])
    if (settled[i] && !better) return
    settled[i] = 1
    result.success[at] = success
    result.predictions[at] = prediction
    result.loss[at] = loss
    result.images.set(image, at * this.per)
  }

  private sizes(vector: Float32Array, active: Int32Array): PerSample {
    return Float32Array.from(active, (i) => vector[this.rows.from + i])
  }

  private referencesOf(samples: Int32Array): Float32Array | undefined {
    return this.referenceLogits && takeRows(this.referenceLogits, samples, this.model.classes)
  }
}
