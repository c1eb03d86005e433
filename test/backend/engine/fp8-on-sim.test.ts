import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, describe, expect, it } from 'vitest'
import { loadModel, type Model, openDataset, pgd } from '#signstep/index.js'
import { demo, root } from '../../support/cli.js'
import { randomNumbers } from '../../support/random.js'

const COUNT = 4
const preprocess = { mean: [0.5, 0.5, 0.5], std: [0.25, 0.25, 0.25] }
const next = randomNumbers(7)
const images = Float32Array.from({ length: COUNT * 3072 }, () => next())

const sim = (precision: 'fp8' | 'bf16' | 'float32'): Promise<Model> =>
  loadModel(demo('vit.onnx'), { ...preprocess, device: 'sim', precision, batch: COUNT })

async function gradient(precision: 'fp8' | 'bf16' | 'float32'): Promise<Float32Array> {
  await using model = await sim(precision)
  const program = await model.program({ loss: 'cross-entropy', targeted: false })
  const indices = Int32Array.from({ length: COUNT }, (_, i) => i)
  const state = await program.begin({ images, labels: indices, sampleIndices: indices, seed: 0 })
  await state.start({ kind: 'clean' })
  const found = await state.gradient()
  await state.dispose()
  return found
}

const dot = (a: Float32Array, b: Float32Array): number => a.reduce((sum, v, i) => sum + v * b[i], 0)
const cosine = (a: Float32Array, b: Float32Array): number => dot(a, b) / Math.sqrt(dot(a, a) * dot(b, b))
const flipped = (a: Float32Array, b: Float32Array): number =>
  a.reduce((sum, v, i) => sum + Number(Math.sign(v) !== Math.sign(b[i])), 0) / a.length

describe('the demo ViT in fp8 in the simulator', () => {
  it('has the gradient of float32 but for a few signs, where bf16 has all but a few of those', async () => {
    const exact = await gradient('float32')
    const [fp8, bf16] = [await gradient('fp8'), await gradient('bf16')]
    // Not bf16 under another name: its products are 16 times as coarse.
    expect(flipped(fp8, exact)).toBeGreaterThan(2 * flipped(bf16, exact))
    expect(flipped(fp8, exact)).toBeLessThan(0.1)
    expect(cosine(fp8, exact)).toBeGreaterThan(0.98)
  }, 300_000)

  it('scores in float32 accuracy', async () => {
    await using cpu = await loadModel(demo('vit.onnx'), { ...preprocess, device: 'cpu' })
    await using model = await sim('fp8')
    const [expected, found] = [await cpu.logits(images), await model.logits(images)]
    for (const [i, logit] of expected.entries()) expect(Math.abs(found[i] - logit)).toBeLessThan(1e-3)
  }, 120_000)
})

describe('a device without products in e4m3', () => {
  const before = process.env.SIGNSTEP_SIM_CAPABILITY
  afterEach(() => {
    if (before === undefined) delete process.env.SIGNSTEP_SIM_CAPABILITY
    else process.env.SIGNSTEP_SIM_CAPABILITY = before
  })

  it.each(['80', '86', '100'])('as that of compute capability %s is refused with what it has', async (capability) => {
    process.env.SIGNSTEP_SIM_CAPABILITY = capability
    await expect(sim('fp8')).rejects.toMatchObject({
      code: 'DEVICE_UNAVAILABLE',
      message: expect.stringMatching(
        /^sim: has no kernels for precision fp8; expected bf16, fp16, float32; found .*compute capability \d+\.\d.*bf16/,
      ),
    })
  })
})

const cifar = join(root, '../shared/data/cifar10/test-5000.zip')
const robust = join(root, '../shared/models/trained/vit-cifar10-pgd.onnx')

describe('PGD-10 on a robust CIFAR-10 ViT in fp8', () => {
  it.skipIf(!existsSync(cifar) || !existsSync(robust))(
    'fools as many as on the processor, give or take 3 of 40',
    async () => {
      const count = 40
      await using dataset = await openDataset(cifar, { limit: count, imageShape: [3, 32, 32] })
      const pictures = new Float32Array(count * 3072)
      for (let i = 0; i < count; i++) await dataset.read(i, pictures.subarray(i * 3072, (i + 1) * 3072))
      const run = async (options: object): Promise<number> => {
        await using model = await loadModel(robust, {
          mean: [0.4914, 0.4822, 0.4465],
          std: [0.2023, 0.1994, 0.201],
          ...options,
        })
        const { success } = await pgd(model, pictures, dataset.labels, { eps: '4/255', steps: 10, seed: 1 })
        return success.reduce((sum, flag) => sum + flag, 0)
      }
      const difference = (await run({ device: 'sim', precision: 'fp8', batch: count })) - (await run({ device: 'cpu' }))
      expect(Math.abs(difference)).toBeLessThanOrEqual(3)
    },
    600_000,
  )
})
