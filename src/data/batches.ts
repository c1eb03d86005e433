import { availableParallelism } from 'node:os'
import { AbortedError, OptionError, throwIfAborted } from '../errors/index.js'
import type { Batch, Dataset } from './dataset.js'

export interface BatchOptions {
  /** Samples in a batch; the last one may be shorter. */
  readonly batch: number
  /** Batches decoded ahead of the one that is being worked on. Default 2. */
  readonly prefetch?: number
  /** Samples decoded at the same time. Default: the number of processors. */
  readonly concurrency?: number
  /** The sample to begin with. Default 0. */
  readonly from?: number
  readonly signal?: AbortSignal
}

/**
 * The batches of a data set in order, decoded ahead of the receiver. At most `prefetch + 1` batches are held. A sample that
 * cannot be read fails the batch it is in, after the ones before it were delivered. Leaving the loop stops the decoding.
 * @throws DataError of the data set; AbortedError
 */
export async function* batches(dataset: Dataset, options: BatchOptions): AsyncGenerator<Batch, void, undefined> {
  const { batch, prefetch = 2, concurrency = availableParallelism(), from = 0, signal } = options
  for (const [subject, value] of Object.entries({ batch, concurrency, prefetch: prefetch + 1 }))
    if (!(Number.isInteger(value) && value >= 1))
      throw new OptionError('OPTION_INVALID', 'not a count', { subject, expected: 'a whole number of at least 1' })
  throwIfAborted(signal, 'reading the data')
  const stop = new AbortController()
  const aborted = new Promise<never>((_, reject) => {
    stop.signal.addEventListener('abort', () => reject(new AbortedError('reading the data', signal?.reason)))
  })
  aborted.catch(() => {})
  const onAbort = () => stop.abort()
  signal?.addEventListener('abort', onAbort)
  const limit = limiter(concurrency, stop.signal)
  const ahead: Promise<Batch>[] = []
  try {
    for (let next = from; next < dataset.length || ahead.length > 0; ) {
      for (; ahead.length <= prefetch && next < dataset.length; next += batch) {
        const loading = readBatch(dataset, next, Math.min(batch, dataset.length - next), limit)
        // Its failure is reported when its turn comes.
        loading.catch(() => {})
        ahead.push(loading)
      }
      const ready = await Promise.race([ahead[0], aborted])
      ahead.shift()
      yield ready
      throwIfAborted(signal, 'reading the data')
    }
  } finally {
    signal?.removeEventListener('abort', onAbort)
    stop.abort()
    // The data set may be closed once this returns: nothing may still be reading it.
    await Promise.allSettled(ahead)
  }
}

async function readBatch(dataset: Dataset, from: number, count: number, limit: Limiter): Promise<Batch> {
  const size = dataset.imageShape.reduce((a, b) => a * b)
  const images = new Float32Array(count * size)
  const reads = Array.from({ length: count }, (_, i) =>
    limit(() => dataset.read(from + i, images.subarray(i * size, (i + 1) * size))),
  )
  // All of them, so that no read outlives its batch; then the first failure in the order of the data.
  const failed = (await Promise.allSettled(reads)).find((read) => read.status === 'rejected')
  if (failed !== undefined) throw failed.reason
  return {
    indices: Int32Array.from({ length: count }, (_, i) => from + i),
    images,
    labels: dataset.labels.slice(from, from + count),
  }
}

type Limiter = (task: () => Promise<void>) => Promise<void>

/** Runs at most `concurrency` tasks at a time, in order; those not begun when the signal fires never begin. */
function limiter(concurrency: number, signal: AbortSignal): Limiter {
  const waiting: (() => void)[] = []
  let running = 0
  return async (task) => {
    if (running >= concurrency) await new Promise<void>((resolve) => waiting.push(resolve))
    else running++
    try {
      throwIfAborted(signal, 'reading the data')
      await task()
    } finally {
      // The place goes to the next in line.
      const next = waiting.shift()
      if (next === undefined) running--
      else next()
    }
  }
}
