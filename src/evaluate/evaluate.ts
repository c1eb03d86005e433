import type { AttackProgress, AttackResult, AttackSpec, PreparedAttack } from '../attack/index.js'
import { checkLabels, type Dataset } from '../data/index.js'
import { OptionError, refuseUnknownOptions } from '../errors/index.js'
import type { Model } from '../model/index.js'
import { takeRows } from '../tensor/index.js'
import { type CleanBatch, CleanBatches } from './clean-batches.js'
import { describeEnvironment } from './environment.js'
import { type AttackOutcome, type EvaluationResult, type Example, proportion } from './result.js'
import { warnings } from './warnings.js'
import { WorstCases } from './worst-case.js'

export interface EvaluateOptions {
  /** One entry an attack and ε. */
  readonly attacks: readonly AttackSpec[]
  /** Images per pass through the model. Default: the model's own batch. */
  readonly batch?: number
  readonly seed?: number
  /** Attack samples that are wrong on the clean image too. Their verdict is "broken" either way. Default false. */
  readonly attackErrors?: boolean
  /** How many pictures to keep for the report. Default 8. */
  readonly examples?: number
  /** The command to repeat the run, for the report. */
  readonly command?: string
  readonly signal?: AbortSignal
  readonly onProgress?: (progress: EvaluateProgress) => void
  /** Sees every batch once all attacks are through with it, before the next is read: the place to write results as they come. */
  readonly onBatch?: (batch: BatchOutcome) => Promise<void> | void
}

export interface EvaluateProgress {
  readonly samples: number
  readonly total: number
  readonly attack: string
  readonly cleanAccuracy: number
  /** Of the attack at work, over the samples it has finished. */
  readonly robustAccuracy: number | undefined
  readonly step?: AttackProgress
  /** Share of all work that is done, counted in gradients and forward passes. */
  readonly fraction: number
}

/** One batch of the set with the verdict of every attack. */
export interface BatchOutcome {
  readonly indices: Int32Array
  readonly images: Float32Array
  readonly labels: Int32Array
  readonly cleanPredictions: Int32Array
  readonly attacks: readonly {
    readonly spec: AttackSpec
    /** 1 where the sample was right on the clean image and is still right. */
    readonly robust: Uint8Array
    /** Positions in this batch of the rows of `result`. */
    readonly rows: Int32Array
    readonly result: AttackResult
  }[]
}

export interface Evaluation {
  readonly result: EvaluationResult
  readonly examples: readonly Example[]
}

/**
 * Clean and robust accuracy of a model over a data set. Robust accuracy is the share of all samples that are classified right
 * before and after the attack (RobustBench's convention: clean errors count as broken). The set is streamed: one batch and what is
 * decoded ahead of it are in memory, and the next batch goes to the device while one is under attack.
 */
export async function evaluate(model: Model, dataset: Dataset, options: EvaluateOptions): Promise<Evaluation> {
  const started = new Date()
  refuseUnknownOptions(options, OPTIONS, 'evaluate')
  const { attacks, seed = 0, signal } = options
  const names = new Set(attacks.map((spec) => `${spec.name} ${spec.eps}`))
  if (names.size < attacks.length)
    throw new OptionError('OPTION_INVALID', 'the same attack is asked for twice at one eps', { subject: 'attacks' })
  checkLabels(dataset, model.classes)
  const batch = options.batch ?? model.batch
  const per = model.imageShape[0] * model.imageShape[1] * model.imageShape[2]
  const total = dataset.length
  const tallies = attacks.map((spec) => new Tally(spec))
  const worst = new WorstCases(attacks)
  const chooser = new ExampleChooser(options.examples ?? 8, model.imageShape)
  const work = 1 + attacks.reduce((sum, spec) => sum + passes(spec), 0)
  let seen = 0
  let cleanRight = 0
  let workDone = 0

  const stream = new CleanBatches(model, dataset, { batch, signal })
  /** Attack number a on a batch; its first upload runs beside what the device is doing. */
  const prepare = ({ indices, images, labels, predictions }: CleanBatch, a: number): Prepared => {
    const [n, spec, tally] = [labels.length, attacks[a], tallies[a]]
    const rows = Int32Array.from(labels.keys()).filter((i) => options.attackErrors || predictions[i] === labels[i])
    const report = (step?: AttackProgress): void =>
      options.onProgress?.({
        samples: seen,
        total,
        attack: spec.name,
        cleanAccuracy: cleanRight / (seen + n),
        robustAccuracy: tally.seen === 0 ? undefined : tally.robust / tally.seen,
        step,
        fraction: Math.min(
          1,
          (workDone + (step === undefined ? 0 : n * passes(spec) * progressOf(step))) / (work * total),
        ),
      })
    const attack = spec.prepare(
      model,
      takeRows(images, rows, per),
      Int32Array.from(rows, (i) => labels[i]),
      { seed, sampleIndices: Int32Array.from(rows, (i) => indices[i]), signal, onProgress: report },
    )
    attack.catch(() => {}) // told when its turn comes
    return { rows, report, attack }
  }
  let upcoming: Prepared | undefined
  try {
    for (let current = await stream.next(); current !== undefined; current = await stream.next()) {
      const { indices, images, labels, predictions: cleanPredictions } = current
      const n = labels.length
      for (let i = 0; i < n; i++) if (cleanPredictions[i] === labels[i]) cleanRight++
      const outcome: BatchOutcome['attacks'][number][] = []
      for (const [a, spec] of attacks.entries()) {
        const isLast = a === attacks.length - 1
        // The clean pass comes first, so that the upload of the next batch can run beside this one's attack.
        const following = isLast ? await stream.peek() : current
        const { rows, report, attack } = upcoming ?? prepare(current, a)
        upcoming = undefined
        report()
        const start = performance.now()
        const result = await (await attack).run(() => {
          if (following !== undefined) upcoming = prepare(following, isLast ? 0 : a + 1)
        })
        const robust = new Uint8Array(n)
        for (const [k, i] of rows.entries())
          robust[i] = cleanPredictions[i] === labels[i] && result.success[k] === 0 ? 1 : 0
        tallies[a].add(n, robust, result, (performance.now() - start) / 1000, cleanPredictions, labels)
        outcome.push({ spec, robust, rows, result })
        workDone += n * passes(spec)
      }
      worst.add(
        outcome.map(({ robust }) => robust),
        n,
      )
      chooser.offer(dataset, { indices, images, labels, cleanPredictions, attacks: outcome })
      await options.onBatch?.({ indices, images, labels, cleanPredictions, attacks: outcome })
      seen += n
      workDone += n
    }
  } finally {
    // What was sent ahead of a failure is let go of; that it failed too is no news.
    const [sent] = await Promise.allSettled([upcoming?.attack])
    if (sent.status === 'fulfilled') await sent.value?.dispose()
    await stream.close()
  }

  const outcomes = tallies.map((tally) => tally.outcome())
  const clean = { ...proportion(cleanRight, seen), seconds: stream.seconds }
  const { preprocess } = model
  const result: EvaluationResult = {
    schema: 1,
    command: options.command ?? '',
    started: started.toISOString(),
    model: { file: model.file, sha256: model.sha256, input: model.imageShape, classes: model.classes, preprocess },
    data: { path: dataset.name, classes: dataset.classes },
    samples: seen,
    seed,
    batch,
    clean,
    attacks: outcomes,
    worstCase: worst.result(),
    environment: describeEnvironment(model),
    warnings: warnings(model, seen, clean.accuracy, outcomes),
  }
  return { result, examples: chooser.chosen }
}

/** An attack on one batch that is ready to run, or will be. */
interface Prepared {
  /** Positions in the batch of what is attacked. */
  readonly rows: Int32Array
  readonly report: (step?: AttackProgress) => void
  readonly attack: Promise<PreparedAttack>
}

const OPTIONS = ['attacks', 'batch', 'seed', 'attackErrors', 'examples', 'command', 'signal', 'onProgress', 'onBatch']

/** Passes through the model that one sample costs: a gradient counts as three forwards. */
const passes = ({ steps, restarts, loss }: AttackSpec): number => 1 + 3 * steps * restarts + (loss === 'kl' ? 1 : 0)
const progressOf = (step: AttackProgress): number =>
  (step.restart * step.steps + step.step) / (step.restarts * step.steps)

/** Adds up one attack over the batches. */
class Tally {
  seen = 0
  robust = 0
  private readonly spec: AttackSpec
  private seconds = 0
  private gradientCalls = 0
  private lossSum = 0
  private attacked = 0
  private nanGradients = 0
  private zeroGradients = 0
  private readonly curve: Float64Array

  constructor(spec: AttackSpec) {
    this.spec = spec
    this.curve = new Float64Array(spec.steps + 1)
  }

  add(
    n: number,
    robust: Uint8Array,
    result: AttackResult,
    seconds: number,
    predictions: Int32Array,
    labels: Int32Array,
  ): void {
    this.seen += n
    for (const flag of robust) this.robust += flag
    this.seconds += seconds
    this.gradientCalls += result.gradientCalls
    this.nanGradients += result.nanGradients
    this.zeroGradients += result.zeroGradients
    this.attacked += result.loss.length
    for (const loss of result.loss) this.lossSum += loss
    if (result.correctAfterStep !== undefined && result.loss.length > 0 && predictions.length === labels.length)
      for (const [k, count] of result.correctAfterStep.entries()) this.curve[k] += count
  }

  outcome(): AttackOutcome {
    const { spec, seen, robust, seconds } = this
    return {
      name: spec.name,
      norm: spec.norm,
      eps: spec.eps,
      steps: spec.steps,
      restarts: spec.restarts,
      robustAccuracy: seen === 0 ? Number.NaN : robust / seen,
      robust: proportion(robust, seen),
      gradientCalls: this.gradientCalls,
      seconds,
      imagesPerSecond: seconds === 0 ? 0 : seen / seconds,
      meanLoss: this.attacked === 0 ? Number.NaN : this.lossSum / this.attacked,
      nanGradients: this.nanGradients,
      zeroGradients: this.zeroGradients,
      ...(spec.steps > 1 && { stepsCurve: Array.from(this.curve, (count) => count / seen) }),
    }
  }
}

/** Keeps the first samples of each attack's successes, one attack after the other, so that the report shows what fooled the model. */
class ExampleChooser {
  readonly chosen: Example[] = []
  private readonly limit: number
  private readonly shape: readonly [number, number, number]

  constructor(limit: number, shape: readonly [number, number, number]) {
    this.limit = limit
    this.shape = shape
  }

  offer(dataset: Dataset, { indices, images, labels, cleanPredictions, attacks }: BatchOutcome): void {
    const per = this.shape[0] * this.shape[1] * this.shape[2]
    for (const { spec, rows, result } of attacks) {
      const mine = this.chosen.filter(({ attack, eps }) => attack === spec.name && eps === spec.eps).length
      let room = Math.max(1, Math.floor(this.limit / attacks.length)) - mine
      const labelsShown = new Set(this.chosen.map(({ label }) => label))
      for (const [k, i] of rows.entries()) {
        if (room <= 0 || this.chosen.length >= this.limit) break
        if (cleanPredictions[i] !== labels[i] || result.success[k] === 0) continue
        // A class that was shown already waits while there are classes that were not.
        if (labelsShown.has(labels[i]) && labelsShown.size < Math.min(this.limit, new Set(labels).size)) continue
        labelsShown.add(labels[i])
        room--
        this.chosen.push({
          index: indices[i],
          file: dataset.file(indices[i]),
          shape: this.shape,
          clean: images.slice(i * per, (i + 1) * per),
          adversarial: result.images.slice(k * per, (k + 1) * per),
          label: labels[i],
          cleanPrediction: cleanPredictions[i],
          prediction: result.predictions[k],
          attack: spec.name,
          eps: spec.eps,
        })
      }
    }
  }
}
