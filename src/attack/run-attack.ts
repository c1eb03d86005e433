import type { Program } from '../backend/index.js'
import { AbortedError, DataError, RuntimeError } from '../errors/index.js'
import type { Model } from '../model/index.js'
import { type AttackWork, BatchAttack } from './batch-attack.js'
import { checkOptions } from './check-options.js'
import type { AttackDefinition } from './definition.js'
import { parseMagnitude, parseRadius } from './magnitude.js'
import { addRows, emptyResult } from './rows.js'
import type { AttackOptions, AttackResult } from './types.js'

/** An attack whose first batch is on the device already, or on its way there. */
export interface PreparedAttack {
  /**
   * @param onLast called when the device has been given the last batch's steps: from then on the next attack may be prepared beside them, with
   * no more than two batches on the device. Not called where there is no batch.
   */
  run(onLast?: () => void): Promise<AttackResult>
  /** Frees what has been sent, of an attack that is not to be run after all. */
  dispose(): Promise<void>
}

/**
 * Runs an attack on images [n,C,H,W] in [0,1] with labels [n], in batches of the model's size. The verdicts come from a fresh forward
 * pass over the images that are returned.
 */
export async function runAttack(...attack: Parameters<typeof prepareAttack>): Promise<AttackResult> {
  return (await prepareAttack(...attack)).run()
}

/** The same in two parts: what comes first may be done while another attack runs. */
export async function prepareAttack(
  definition: AttackDefinition,
  model: Model,
  images: Float32Array,
  labels: Int32Array,
  options: AttackOptions,
): Promise<PreparedAttack> {
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
  const attack = new WholeAttack({ definition, model, images, labels, options, plan, per }, program)
  await attack.prepare()
  return attack
}

/** All batches, one after the other; the next one is sent to the device while one runs. */
class WholeAttack implements PreparedAttack {
  private readonly work: AttackWork
  private program: Program
  /** The batch that is run next. */
  private next: Promise<BatchAttack> | undefined

  constructor(work: AttackWork, program: Program) {
    this.work = work
    this.program = program
  }

  async prepare(): Promise<void> {
    this.next = this.begin(0)
    await Promise.allSettled([this.next])
  }

  async run(onLast?: () => void): Promise<AttackResult> {
    const { labels, per, plan } = this.work
    const result = emptyResult(labels.length, per, plan.steps)
    for (let from = 0; from < labels.length; ) {
      try {
        const batch = await (this.next ?? this.begin(from))
        this.next = undefined
        const found = await batch.run(() => {
          if (batch.to < labels.length) this.next = this.begin(batch.to)
          else onLast?.()
        })
        addRows(result, found, from, per)
        from = batch.to
      } catch (error) {
        await this.dispose()
        if (!(await this.canGoOn(error))) throw error
      }
    }
    return result
  }

  async dispose(): Promise<void> {
    const begun = this.next
    this.next = undefined
    await begun?.then(
      (batch) => batch.dispose(),
      // Told by the run, if there is one.
      () => {},
    )
  }

  private begin(from: number): Promise<BatchAttack> {
    const begun = BatchAttack.begin(this.work, this.program, from)
    begun.catch(() => {}) // told when its turn comes
    return begun
  }

  /** With half the batch, after memory ran out; so too if that happened to another attack, which then took this program's place. */
  private async canGoOn(error: unknown): Promise<boolean> {
    if (error instanceof AbortedError) return false
    const { model } = this.work
    const failed = this.program
    if (error instanceof RuntimeError && error.code === 'OUT_OF_MEMORY') await model.shrink(failed)
    this.program = await model.program(failed)
    return this.program !== failed
  }
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

function planOf(definition: AttackDefinition, options: AttackOptions, n: number): AttackWork['plan'] {
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
