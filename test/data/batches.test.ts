import { describe, expect, it } from 'vitest'
import { type BatchOptions, batches, type Dataset, datasetFromArrays } from '#signstep/data/index.js'
import { DataError } from '#signstep/errors/index.js'

const pixels = 3 * 2 * 2
const memory = datasetFromArrays(
  Float32Array.from({ length: 10 * pixels }, (_, i) => Math.floor(i / pixels) / 10),
  Int32Array.from(Array(10).keys()),
  [3, 2, 2],
)
const pause = (ms: number): Promise<void> => new Promise((done) => setTimeout(done, ms))

/** Takes the time `delay(i)` for sample i, fails on `broken`, and counts. */
function slow(
  delay: (index: number) => number,
  broken = -1,
): { dataset: Dataset; count: { open: number; most: number; all: number } } {
  const count = { open: 0, most: 0, all: 0 }
  const read: Dataset['read'] = async (index, out) => {
    count.all++
    count.most = Math.max(count.most, ++count.open)
    await pause(delay(index))
    count.open--
    if (index === broken) throw new DataError('DATA_UNDECODABLE', 'broken', { subject: `${index}` })
    await memory.read(index, out)
  }
  return { dataset: { ...memory, read }, count }
}

async function indices(dataset: Dataset, options: BatchOptions): Promise<number[][]> {
  const out: number[][] = []
  for await (const batch of batches(dataset, options)) out.push([...batch.indices])
  return out
}

describe('batches', () => {
  it('come in the order of the data however long each sample takes, the last one shorter', async () => {
    const { dataset } = slow((index) => (index * 7) % 10)
    for await (const batch of batches(dataset, { batch: 4 })) {
      expect(batch.images).toHaveLength(batch.indices.length * pixels)
      for (const [i, index] of batch.indices.entries()) {
        expect(batch.labels[i]).toBe(index)
        expect(batch.images[i * pixels]).toBe(Math.fround(index / 10))
      }
    }
    expect(await indices(dataset, { batch: 4 })).toEqual([
      [0, 1, 2, 3],
      [4, 5, 6, 7],
      [8, 9],
    ])
  })

  it('begin where they are told to', async () => {
    expect(await indices(memory, { batch: 3, from: 6 })).toEqual([[6, 7, 8], [9]])
    expect(await indices(memory, { batch: 3, from: 10 })).toEqual([])
  })

  it('are decoded by as many reads at a time as asked', async () => {
    const { dataset, count } = slow(() => 2)
    await indices(dataset, { batch: 4, concurrency: 3 })
    expect(count.most).toBe(3)
  })

  it('before a broken sample are delivered', async () => {
    const { dataset } = slow(() => 1, 5)
    const seen: number[] = []
    const run = async (): Promise<void> => {
      for await (const batch of batches(dataset, { batch: 2 })) seen.push(...batch.indices)
    }
    await expect(run()).rejects.toMatchObject({ code: 'DATA_UNDECODABLE' })
    expect(seen).toEqual([0, 1, 2, 3])
  })

  it('are no longer decoded once the receiver leaves, and nothing reads the data any more', async () => {
    const { dataset, count } = slow(() => 5)
    for await (const _ of batches(dataset, { batch: 2, prefetch: 4, concurrency: 2 })) break
    expect(count.open).toBe(0)
    const { all } = count
    await pause(30)
    expect(count.all).toBe(all)
    expect(all).toBeLessThan(10)
  })

  it('end when they are aborted during a read, and begin no other', async () => {
    const { dataset, count } = slow(() => 50)
    const controller = new AbortController()
    const next = batches(dataset, { batch: 1, prefetch: 1, concurrency: 1, signal: controller.signal }).next()
    controller.abort()
    await expect(next).rejects.toMatchObject({ code: 'ABORTED' })
    expect(count).toEqual({ open: 0, most: 1, all: 1 })
  })

  it('of no size are refused', async () => {
    await expect(indices(memory, { batch: 0 })).rejects.toThrow(/batch: not a count/)
  })
})
