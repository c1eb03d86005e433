import { beforeAll, describe, expect, it } from 'vitest'
import { N } from '#signstep/graph/index.js'
import { pgd, rsFgsm } from '#signstep/index.js'
import { loadModel, type Model } from '#signstep/model/index.js'
import { float32Tensor } from '#signstep/tensor/index.js'
import { modelFile } from '../../support/linear-model.js'
import { randomNumbers } from '../../support/random.js'

// Read when the plugin is first opened: files of tests run in processes of their own.
process.env.SIGNSTEP_SIM_DEVICES = '3'

const [SHAPE, PIXELS, CLASSES, COUNT] = [[3, 8, 8] as const, 192, 10, 7]
const next = randomNumbers(8)
const numbers = (count: number): Float32Array => Float32Array.from({ length: count }, () => next())
const images = numbers(COUNT * PIXELS)
const labels = Int32Array.from({ length: COUNT }, (_, i) => i % CLASSES)
let file: string

beforeAll(async () => {
  const weight = float32Tensor(
    [PIXELS, CLASSES],
    numbers(PIXELS * CLASSES).map((x) => x - 0.5),
  )
  file = await modelFile(SHAPE, (b, x) => b.matMul(b.reshape(x, [N, PIXELS]), b.parameter(weight, 'w')))
})

const onDevice = (device: 'sim' | 'sim:1', batch: number): Promise<Model> =>
  loadModel(file, { device, batch, precision: 'bf16' })

describe('a batch shared out among several devices', () => {
  it('gives the bits that one device gives, with restarts and where samples finish early', async () => {
    await using one = await onDevice('sim:1', 7)
    await using three = await onDevice('sim', 6)
    expect(three.backend.description).toMatch(/^3 devices: /)
    const options = { eps: '4/255', steps: 4, restarts: 2, seed: 3, earlyStop: true } as const
    const [expected, found] = [await pgd(one, images, labels, options), await pgd(three, images, labels, options)]
    expect(found.images).toEqual(expected.images)
    expect(found.success).toEqual(expected.success)
    expect(found.loss).toEqual(expected.loss)
    expect(await three.logits(images)).toEqual(await one.logits(images))
  })

  it('compares every sample with its own reference logits under KL', async () => {
    await using one = await onDevice('sim:1', 7)
    await using three = await onDevice('sim', 6)
    const options = { eps: '4/255', steps: 3, seed: 5, loss: 'kl' } as const
    const [expected, found] = [await pgd(one, images, labels, options), await pgd(three, images, labels, options)]
    expect(found.images).toEqual(expected.images)
    expect(found.loss).toEqual(expected.loss)
    expect(found.loss.every((loss) => loss > 0)).toBe(true)
  })

  it('may be smaller than the number of devices', async () => {
    await using three = await onDevice('sim', 6)
    const single = await rsFgsm(three, images.slice(0, PIXELS), labels.slice(0, 1), { eps: '4/255', seed: 3 })
    expect(single.success).toHaveLength(1)
  })
})
