import { setImmediate } from 'node:timers/promises'
import { type Batch, batches, type Dataset } from '../data/index.js'
import { throwIfAborted } from '../errors/index.js'
import type { Model } from '../model/index.js'

/** A batch with what the model says of it before any attack. */
export interface CleanBatch extends Batch {
  readonly predictions: Int32Array
}

interface Options {
  readonly batch: number
  readonly signal: AbortSignal | undefined
}

/**
 * The batches of a data set with their clean predictions, in order. One of them may be had ahead, while the one before is under attack: it
 * is decoded meanwhile in any case.
 */
export class CleanBatches {
  /** Time spent in clean passes. */
  seconds = 0
  private readonly model: Model
  private readonly signal: AbortSignal | undefined
  private readonly source: AsyncGenerator<Batch, void, undefined>
  private decoded: Promise<IteratorResult<Batch, void>>
  private ahead: Promise<CleanBatch | undefined> | undefined

  constructor(model: Model, dataset: Dataset, { batch, signal }: Options) {
    this.model = model
    this.signal = signal
    // With the one taken ahead there are as many in memory as ever.
    this.source = batches(dataset, { batch, signal, prefetch: 1 })
    this.decoded = this.decode()
  }

  /** The next batch; undefined after the last. */
  async next(): Promise<CleanBatch | undefined> {
    throwIfAborted(this.signal, 'the evaluation')
    const ready = this.ahead ?? this.predict()
    this.ahead = undefined
    return ready
  }

  /** What `next` will give, if its images have been decoded by now. A failure is left to `next`. */
  async peek(): Promise<CleanBatch | undefined> {
    const isDecoded = await Promise.race([this.decoded.then(() => true), setImmediate(false)]).catch(() => false)
    if (!isDecoded) return undefined
    this.ahead ??= this.predict()
    return this.ahead.catch(() => undefined)
  }

  /** Stops the decoding. */
  async close(): Promise<void> {
    await Promise.allSettled([this.decoded, this.ahead])
    await this.source.return()
  }

  private async predict(): Promise<CleanBatch | undefined> {
    const { done, value } = await this.decoded
    if (done || value === undefined) return undefined
    this.decoded = this.decode()
    const begun = performance.now()
    const predictions = await this.model.predict(value.images, { signal: this.signal })
    this.seconds += (performance.now() - begun) / 1000
    return { ...value, predictions }
  }

  private decode(): Promise<IteratorResult<Batch, void>> {
    const decoded = this.source.next()
    decoded.catch(() => {}) // told by `next`
    return decoded
  }
}
