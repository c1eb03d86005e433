import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import sharp from 'sharp'
import { describe, expect, it } from 'vitest'
import {
  batches,
  checkLabels,
  createNpzWriter,
  datasetFromArrays,
  openDataset,
  writeNpz,
} from '#signstep/data/index.js'
import { float32Tensor, int64Tensor } from '#signstep/tensor/index.js'
import { demo, root, scratch } from '../support/cli.js'

const shape = [3, 4, 4] as const
const per = 48

/** A folder of class folders; image k of a class is uniformly grey with a value of its own. */
async function classFolders(classes: Record<string, number>): Promise<string> {
  const folder = scratch()
  let value = 0
  for (const [name, count] of Object.entries(classes)) {
    mkdirSync(join(folder, name))
    for (let k = 0; k < count; k++) {
      const path = join(folder, name, `${k}.png`)
      await sharp({ create: { width: 4, height: 4, channels: 3, background: { r: value, g: value, b: value } } })
        .png()
        .toFile(path)
      value++
    }
  }
  return folder
}

async function greys(
  path: string,
  options: { limit?: number; batch?: number } = {},
): Promise<{ values: number[]; labels: number[]; files: string[] }> {
  await using dataset = await openDataset(path, { limit: options.limit })
  const [values, labels, files]: [number[], number[], string[]] = [[], [], []]
  for await (const batch of batches(dataset, { batch: options.batch ?? 2 })) {
    for (const [i, label] of batch.labels.entries()) {
      values.push(Math.round(255 * batch.images[i * per]))
      labels.push(label)
      files.push(dataset.file(batch.indices[i]))
    }
  }
  return { values, labels, files }
}

describe('a folder of class folders', () => {
  it('takes sorted class names as labels', async () => {
    const { values, labels } = await greys(await classFolders({ zebra: 2, ant: 1, cow: 2 }))
    // Drawn in the order zebra 0 1, ant 2, cow 3 4; read in the order ant, cow, zebra.
    expect(labels).toEqual([0, 1, 1, 2, 2])
    expect(values).toEqual([2, 3, 4, 0, 1])
  })

  it('takes a balanced sample: image 0 of every class, then image 1', async () => {
    const { labels, values } = await greys(await classFolders({ a: 3, b: 1, c: 3 }), { limit: 5 })
    expect(labels).toEqual([0, 1, 2, 0, 2])
    expect(values).toEqual([0, 3, 4, 1, 5])
  })

  it('gives the same batches whatever their size', async () => {
    const folder = await classFolders({ a: 3, b: 4 })
    const [one, three] = [await greys(folder, { batch: 1 }), await greys(folder, { batch: 3 })]
    expect(three).toEqual(one)
  })

  it('names an image that cannot be decoded', async () => {
    const folder = await classFolders({ a: 2 })
    writeFileSync(join(folder, 'a', '1.png'), readFileSync(join(folder, 'a', '1.png')).subarray(0, 60))
    await expect(greys(folder)).rejects.toMatchObject({
      code: 'DATA_UNDECODABLE',
      message: expect.stringContaining('1.png'),
    })
  })

  it.each([
    ['an empty folder', {}],
    ['class folders without images', { a: 0 }],
  ])('refuses %s', async (_name, classes) => {
    await expect(
      classFolders(classes as Record<string, number>).then((folder) => openDataset(folder)),
    ).rejects.toMatchObject({ code: 'DATA_INVALID' })
  })

  it('refuses images of another size than the model takes, with the cure', async () => {
    const folder = await classFolders({ a: 1 })
    await expect(openDataset(folder, { imageShape: [3, 8, 8] })).rejects.toMatchObject({
      code: 'DATA_INVALID',
      message: expect.stringMatching(/--resize|--crop/),
    })
  })
})

describe('a zip', () => {
  it('reads as the folder it was made from', async () => {
    await using dataset = await openDataset(demo('images.zip'), { limit: 20 })
    expect(dataset.classes).toHaveLength(10)
    expect(Array.from(dataset.labels)).toEqual([...Array(10).keys(), ...Array(10).keys()])
    expect(dataset.imageShape).toEqual([3, 32, 32])
  })

  it('that is cut off is refused', async () => {
    const path = join(scratch(), 'half.zip')
    writeFileSync(path, readFileSync(demo('images.zip')).subarray(0, 500_000))
    await expect(openDataset(path)).rejects.toMatchObject({ code: 'DATA_INVALID' })
  })
})

describe('the binary layout of CIFAR-10', () => {
  const record = (label: number, value: number): Buffer =>
    Buffer.concat([Buffer.from([label]), Buffer.alloc(3072, value)])
  it('holds a label byte and three planes a record', async () => {
    const path = join(scratch(), 'test.bin')
    writeFileSync(path, Buffer.concat([record(3, 0), record(1, 255)]))
    await using dataset = await openDataset(path)
    expect(Array.from(dataset.labels)).toEqual([3, 1])
    const out = new Float32Array(3072)
    await dataset.read(1, out)
    expect(out.every((v) => v === 1)).toBe(true)
  })
  it('of a broken length is refused', async () => {
    const path = join(scratch(), 'test.bin')
    writeFileSync(path, Buffer.alloc(5000))
    await expect(openDataset(path)).rejects.toMatchObject({ code: 'DATA_INVALID' })
  })
})

describe('an .npz', () => {
  const images = Float32Array.from({ length: 3 * per }, (_, i) => i / (3 * per))
  async function written(arrays: Parameters<typeof writeNpz>[1]): Promise<string> {
    const path = join(scratch(), 'x.npz')
    await writeNpz(path, arrays)
    return path
  }

  it('comes back as it was written', async () => {
    const path = await written({ images: float32Tensor([3, ...shape], images), labels: int64Tensor([2, 0, 1]) })
    await using dataset = await openDataset(path)
    expect(dataset.imageShape).toEqual(shape)
    expect(Array.from(dataset.labels)).toEqual([2, 0, 1])
    const out = new Float32Array(per)
    await dataset.read(2, out)
    expect(out).toEqual(images.subarray(2 * per))
  })

  it.each([
    ['values of 0 to 255', images.map((v) => v * 255), /by 255/],
    ['NaN', images.map((v, i) => (i === 50 ? Number.NaN : v)), /no numbers|NaN/],
  ])('with %s is refused when it is read', async (_name, data, words) => {
    const path = await written({ images: float32Tensor([3, ...shape], data), labels: int64Tensor([0, 1, 2]) })
    const readAll = async (): Promise<void> => {
      await using dataset = await openDataset(path)
      for (let i = 0; i < 3; i++) await dataset.read(i, new Float32Array(per))
    }
    await expect(readAll()).rejects.toThrow(words)
  })

  it('without labels is refused, and says what it holds', async () => {
    const path = await written({ pictures: float32Tensor([3, ...shape], images) })
    await expect(openDataset(path)).rejects.toThrow(/pictures/)
  })

  it('grows batch by batch and appears only when it is whole', async () => {
    const folder = scratch()
    const path = join(folder, 'out.npz')
    const writer = await createNpzWriter(path, {
      images: { dtype: 'float32', shape },
      labels: { dtype: 'int64', shape: [] },
    })
    await writer.append({ images: images.slice(0, per), labels: BigInt64Array.of(5n) })
    expect(existsSync(path)).toBe(false)
    await writer.append({ images: images.slice(per), labels: BigInt64Array.of(6n, 7n) })
    await writer.finish()
    expect(readdirSync(folder)).toEqual(['out.npz'])
    await using dataset = await openDataset(path)
    expect(Array.from(dataset.labels)).toEqual([5, 6, 7])
  })

  it('that is given up leaves nothing behind', async () => {
    const folder = scratch()
    const writer = await createNpzWriter(join(folder, 'out.npz'), { labels: { dtype: 'int64', shape: [] } })
    await writer.append({ labels: BigInt64Array.of(5n) })
    await writer.abort()
    expect(readdirSync(folder)).toEqual([])
  })

  it.skipIf(!existsSync('/dev/full'))('reports a full disk as OUTPUT_FAILED', async () => {
    // A folder that cannot be written to stands for the disk: the temporary folder beside the file cannot be made.
    await expect(createNpzWriter('/dev/full/out.npz', { labels: { dtype: 'int64', shape: [] } })).rejects.toMatchObject(
      { code: 'OUTPUT_FAILED' },
    )
  })
})

describe('batches', () => {
  const dataset = datasetFromArrays(new Float32Array(10 * per), Int32Array.from(Array(10).keys()), shape)
  it('are decoded ahead of the receiver, but not further than asked', async () => {
    let reads = 0
    const counting = {
      ...dataset,
      length: 10,
      labels: dataset.labels,
      imageShape: shape,
      file: dataset.file,
      close: dataset.close,
      read: async (i: number, out: Float32Array) => {
        reads++
        await dataset.read(i, out)
      },
      [Symbol.asyncDispose]: async () => {},
    }
    for await (const batch of batches(counting, { batch: 2, prefetch: 1 })) {
      await new Promise((done) => setTimeout(done, 20))
      expect(reads).toBeLessThanOrEqual(batch.indices[0] + 2 * 3)
    }
    expect(reads).toBe(10)
  })
  it('stop when they are aborted', async () => {
    const controller = new AbortController()
    const run = async (): Promise<void> => {
      for await (const _ of batches(dataset, { batch: 1, signal: controller.signal })) controller.abort()
    }
    await expect(run()).rejects.toMatchObject({ code: 'ABORTED' })
  })
  it('are refused where a label is no class of the model', () => {
    expect(() => checkLabels(dataset, 9)).toThrow(expect.objectContaining({ code: 'DATA_CLASSES' }))
    expect(() => checkLabels(dataset, 10)).not.toThrow()
  })
})

it('says what is missing', () =>
  expect(openDataset('no/such/set.zip')).rejects.toMatchObject({ code: 'DATA_NOT_FOUND' }))

const cifar = join(root, '../shared/data/cifar10/test-5000.zip')
it.skipIf(!existsSync(cifar))('reads the balanced CIFAR-10 test set', async () => {
  await using dataset = await openDataset(cifar, { limit: 1000 })
  expect(dataset.length).toBe(1000)
  expect(dataset.imageShape).toEqual([3, 32, 32])
  expect(Array.from(dataset.labels.subarray(0, 12))).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1])
})
