import { describe, expect, it } from 'vitest'
import { openDevices } from '#signstep/backend/index.js'
import { fgsm, loadModel, type Model, miFgsm, pgd } from '#signstep/index.js'
import { demo } from '../../support/cli.js'
import { randomNumbers } from '../../support/random.js'
import { uncoveredModel } from '../../support/uncovered-model.js'

/** Why this processor cannot, or undefined where it can. */
const refusal = await openDevices('cpu').then(
  () => undefined,
  (error: Error) => error.message,
)

const COUNT = 6
const next = randomNumbers(12)
const images = Float32Array.from({ length: COUNT * 3 * 32 * 32 }, () => next())
const labels = Int32Array.from({ length: COUNT }, (_, i) => i)
const preprocess = { mean: [0.5, 0.5, 0.5], std: [0.25, 0.25, 0.25], device: 'cpu' as const, batch: 4 }
const skipped = refusal === undefined ? '' : ` (skipped: ${refusal})`

describe.skipIf(refusal !== undefined).each(['vit.onnx', 'resnet.onnx'])(
  `%s in bf16 on the processor${skipped}`,
  (file) => {
    const exact = (): Promise<Model> => loadModel(demo(file), preprocess)
    const quick = (options: object = {}): Promise<Model> =>
      loadModel(demo(file), { ...preprocess, precision: 'bf16', ...options })

    it('scores in float32 accuracy', async () => {
      await using a = await exact()
      await using b = await quick()
      const [expected, found] = [await a.logits(images), await b.logits(images)]
      for (const [i, logit] of expected.entries()) expect(Math.abs(found[i] - logit)).toBeLessThan(1e-4)
    })

    it.each([
      ['FGSM', fgsm, {}],
      ['PGD', pgd, { steps: 4, restarts: 2 }],
      ['PGD with early stop', pgd, { steps: 4, earlyStop: true }],
      ['PGD in L2', pgd, { steps: 4, norm: 'l2', eps: 0.5, iterate: 'best' }],
      ['MI-FGSM', miFgsm, { steps: 4 }],
    ] as const)('%s reaches the losses of float32, and stays in the ball', async (_name, attack, options) => {
      const all = { eps: '4/255', seed: 2, ...options } as Parameters<typeof pgd>[3]
      await using a = await exact()
      await using b = await quick()
      const [expected, found] = [await attack(a, images, labels, all), await attack(b, images, labels, all)]
      const mean = (values: Float32Array): number => values.reduce((x, y) => x + y, 0) / COUNT
      expect(Math.abs(mean(found.loss) / mean(expected.loss) - 1)).toBeLessThan(0.03)
      const radius = 'norm' in options ? found.l2 : found.linf
      const bound = 'norm' in options ? 0.5 : 4 / 255
      for (const distance of radius) expect(distance).toBeLessThanOrEqual(bound + 1e-5)
    })

    it('gives the same bits whatever the number of threads and the batch', async () => {
      const run = async (options: object): Promise<Float32Array> => {
        await using model = await quick(options)
        return (await pgd(model, images, labels, { eps: '4/255', steps: 3, seed: 2 })).images
      }
      const one = await run({ threads: 1, batch: 3 })
      expect(await run({ threads: 2, batch: 6 })).toEqual(one)
    })
  },
)

describe.skipIf(refusal !== undefined)(`bf16 on the processor${skipped}`, () => {
  it('refuses a model that no kernel covers by the name of the node', async () => {
    await expect(loadModel(await uncoveredModel(), { device: 'cpu', precision: 'bf16' })).rejects.toMatchObject({
      code: 'OPERATOR_UNSUPPORTED',
      message: expect.stringMatching(/Conv.*float32/s),
    })
  })
})
