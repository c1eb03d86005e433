import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { batches, loadModel, type Model, openDataset, pgd } from '#signstep/index.js'
import { demo } from '../support/cli.js'

const preprocess = { mean: [0.5, 0.5, 0.5], std: [0.25, 0.25, 0.25] }
const options = { eps: '4/255', alpha: '1/255', steps: 6, seed: 11 } as const
let model: Model
let images: Float32Array
let labels: Int32Array

beforeAll(async () => {
  model = await loadModel(demo('resnet.onnx'), { ...preprocess, batch: 32 })
  await using dataset = await openDataset(demo('images.zip'), { limit: 32, imageShape: model.imageShape })
  for await (const batch of batches(dataset, { batch: 32 })) ({ images, labels } = batch)
})
afterAll(() => model?.dispose())

describe('PGD on the demo ResNet', () => {
  it('gives every sample the same random numbers whatever the batch size', async () => {
    const whole = await pgd(model, images, labels, options)
    await using small = await loadModel(demo('resnet.onnx'), { ...preprocess, batch: 7 })
    const split = await pgd(small, images, labels, options)
    expect(split.success).toEqual(whole.success)
    let different = 0
    for (const [i, value] of whole.images.entries()) if (Math.abs(split.images[i] - value) > 1e-6) different++
    // Where a gradient is all but zero its sign may depend on the order of float sums.
    expect(different / whole.images.length).toBeLessThan(0.01)
  })

  it('repeats bit for bit with the same seed and differs with another', async () => {
    const [a, b, c] = [
      await pgd(model, images, labels, options),
      await pgd(model, images, labels, options),
      await pgd(model, images, labels, { ...options, seed: 12 }),
    ]
    expect(a.images).toEqual(b.images)
    expect(a.images).not.toEqual(c.images)
  })

  it('reaches the same verdicts with early stop, in fewer gradients', async () => {
    const full = await pgd(model, images, labels, { ...options, eps: '8/255', steps: 20 })
    const early = await pgd(model, images, labels, { ...options, eps: '8/255', steps: 20, earlyStop: true })
    // Retiring a fooled sample can only add successes: one that is fooled on the way may be right again at the end.
    for (const [i, flag] of full.success.entries()) expect(early.success[i]).toBeGreaterThanOrEqual(flag)
    expect(early.gradientCalls).toBeLessThan(full.gradientCalls)
    // And what it says of its images is what the model says of them.
    expect(early.predictions).toEqual(await model.predict(early.images))
  })

  it('keeps the worst case over restarts', async () => {
    const one = await pgd(model, images, labels, options)
    const three = await pgd(model, images, labels, { ...options, restarts: 3 })
    for (const [i, flag] of one.success.entries()) {
      expect(three.success[i]).toBeGreaterThanOrEqual(flag)
      if (flag === three.success[i]) expect(three.loss[i]).toBeGreaterThanOrEqual(one.loss[i] - 1e-4)
    }
  })

  it('returns the best iterate on request, never worse than the last', async () => {
    const last = await pgd(model, images, labels, options)
    const best = await pgd(model, images, labels, { ...options, iterate: 'best' })
    for (const [i, loss] of best.loss.entries()) expect(loss).toBeGreaterThanOrEqual(last.loss[i] - 1e-5)
  })

  it('stays in the ball and in [0,1]', async () => {
    const { images: found, linf } = await pgd(model, images, labels, options)
    for (const size of linf) expect(size).toBeLessThanOrEqual(4 / 255 + 1e-6)
    expect(Math.min(...found)).toBeGreaterThanOrEqual(0)
    expect(Math.max(...found)).toBeLessThanOrEqual(1)
  })

  it('counts how many samples are right along its steps', async () => {
    const { correctAfterStep, success } = await pgd(model, images, labels, { ...options, randomStart: false })
    expect(correctAfterStep).toHaveLength(7)
    expect(correctAfterStep[6]).toBe(success.filter((flag) => flag === 0).length)
    expect(correctAfterStep[0]).toBe(Array.from(await model.predict(images)).filter((p, i) => p === labels[i]).length)
  })

  it.each(['random', 'least-likely', 'second'] as const)(
    'reaches %s targets more often than chance',
    async (target) => {
      const { success, predictions } = await pgd(model, images, labels, {
        ...options,
        eps: '16/255',
        alpha: '2/255',
        steps: 20,
        target,
      })
      expect(success.reduce((a, b) => a + b, 0)).toBeGreaterThan(target === 'second' ? 16 : 6)
      for (const [i, flag] of success.entries()) if (flag === 1) expect(predictions[i]).not.toBe(labels[i])
    },
  )

  it('can be aborted between steps, within the time of one', async () => {
    const controller = new AbortController()
    const run = pgd(model, images, labels, {
      ...options,
      steps: 1000,
      signal: controller.signal,
      onProgress: ({ step }) => step === 3 && controller.abort(),
    })
    await expect(run).rejects.toMatchObject({ code: 'ABORTED' })
    // The model is as usable as before.
    expect((await model.predict(images)).length).toBe(32)
  })
})
