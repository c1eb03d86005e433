import { describe, expect, it } from 'vitest'
import { pgd, rsFgsm } from '#signstep/index.js'
import { loadModel, type Model } from '#signstep/model/index.js'
import { randomLinearModel } from '../../support/linear-model.js'

// Read when the plugin is first opened: files of tests run in processes of their own.
process.env.SIGNSTEP_SIM_DEVICES = '3'

const [PIXELS, CLASSES, COUNT] = [192, 10, 7]
const { file, images } = await randomLinearModel(8, COUNT)
const labels = Int32Array.from({ length: COUNT }, (_, i) => i % CLASSES)

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
