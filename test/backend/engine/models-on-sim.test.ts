import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { openDataset, pgd } from '#signstep/index.js'
import { loadModel, type Model } from '#signstep/model/index.js'
import { classAttention, classAttentionShape } from '../../support/class-attention.js'
import { demo, root } from '../../support/cli.js'
import { modelFile } from '../../support/linear-model.js'
import { randomNumbers } from '../../support/random.js'

const models = join(root, '../shared/models')

const transformers: [string, string][] = [
  ['a network with one query', await modelFile(classAttentionShape, classAttention)],
  ['the demo ViT', demo('vit.onnx')],
  ['a ViT of torchvision', join(models, 'exports/tv_vit_d48_l2_p4_32_op17_dyn.onnx')],
  ['a ViT of timm', join(models, 'golden/timm_vit__ts17_bN.onnx')],
  ['a DeiT-III of timm', join(models, 'golden/timm_deit3__ts17_bN.onnx')],
  ['a ViT of Hugging Face', join(models, 'golden/hf_vit__dy18_bN_ext.onnx')],
]

/** Networks of convolutions. In fp16: a ReLU near zero may go either way in bf16, which turns the gradient of an untrained network. */
const convolutional: [string, string][] = [
  ['the demo ResNet', demo('resnet.onnx')],
  ['a ResNet-18 of timm', join(models, 'golden/timm_resnet18__ts17_bN_keepbn.onnx')],
  ['a plain CNN', join(models, 'trained/cnn-base-cifar10-kw.onnx')],
]

const COUNT = 4

interface Point {
  readonly loss: Float32Array
  readonly gradient: Float32Array
}

async function lossAndGradient(model: Model): Promise<Point> {
  const next = randomNumbers(6)
  const images = Float32Array.from({ length: COUNT * model.imageShape.reduce((a, b) => a * b, 1) }, () => next())
  const program = await model.program({ loss: 'cross-entropy', targeted: false })
  const state = await program.begin({
    images,
    labels: Int32Array.from({ length: COUNT }, (_, i) => (3 * i) % model.classes),
    sampleIndices: Int32Array.from({ length: COUNT }, (_, i) => i),
    seed: 0,
  })
  await state.start({ kind: 'clean' })
  const gradient = await state.gradient()
  const { loss } = await state.step({ kind: 'linf', alpha: 0.01, eps: 0.03, direction: 1 })
  await state.dispose()
  return { loss, gradient }
}

const mean = (values: Float32Array): number => values.reduce((a, b) => a + b, 0) / values.length

function cosine(a: Float32Array, b: Float32Array): number {
  const dot = (x: Float32Array, y: Float32Array): number => x.reduce((sum, v, i) => sum + v * y[i], 0)
  return dot(a, b) / Math.sqrt(dot(a, a) * dot(b, b))
}

describe.each([
  ...transformers.map((model) => [...model, 'bf16', 0.999] as const),
  ...convolutional.map((model) => [...model, 'fp16', 0.99] as const),
])('%s in the simulator', (_name, file, precision, least) => {
  it.skipIf(!existsSync(file))(`has loss and gradient of the processor, to float32 and to ${precision}`, async () => {
    const on = async (options: object): Promise<Point> => {
      await using model = await loadModel(file, { preprocess: 'half', batch: COUNT, ...options })
      // Awaited here: the model goes at the end of this block.
      return await lossAndGradient(model)
    }
    const expected = await on({ device: 'cpu' })
    const exact = await on({ device: 'sim', precision: 'float32' })
    const rounded = await on({ device: 'sim', precision })
    for (const [i, loss] of expected.loss.entries()) expect(Math.abs(exact.loss[i] / loss - 1)).toBeLessThan(1e-4)
    expect(Math.abs(mean(rounded.loss) / mean(expected.loss) - 1)).toBeLessThan(0.01)
    expect(cosine(exact.gradient, expected.gradient)).toBeGreaterThan(1 - 1e-6)
    expect(cosine(rounded.gradient, expected.gradient)).toBeGreaterThan(least)
  })
})

const cifar = join(root, '../shared/data/cifar10/test-5000.zip')
const robust = join(models, 'trained/vit-cifar10-pgd.onnx')

describe('PGD-10 on a robust CIFAR-10 ViT in the simulator', () => {
  it.skipIf(!existsSync(cifar) || !existsSync(robust)).each([
    ['float32', 30, 1],
    ['bf16', 100, 3],
  ] as const)(
    'in %s, on %d images, fools as many as on the processor, give or take %d',
    async (precision, count, most) => {
      await using dataset = await openDataset(cifar, { limit: count, imageShape: [3, 32, 32] })
      const images = new Float32Array(count * 3072)
      for (let i = 0; i < count; i++) await dataset.read(i, images.subarray(i * 3072, (i + 1) * 3072))
      const run = async (options: object): Promise<number> => {
        await using model = await loadModel(robust, {
          mean: [0.4914, 0.4822, 0.4465],
          std: [0.2023, 0.1994, 0.201],
          ...options,
        })
        const { success } = await pgd(model, images, dataset.labels, { eps: '4/255', steps: 10, seed: 1 })
        return success.reduce((sum, flag) => sum + flag, 0)
      }
      const difference = (await run({ device: 'sim', precision, batch: 50 })) - (await run({ device: 'cpu' }))
      expect(Math.abs(difference)).toBeLessThanOrEqual(most)
    },
  )
})
