import { existsSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import ort from 'onnxruntime-node'
import { describe, expect, it } from 'vitest'
import { openNpzArray } from '#signstep/data/npz-reader.js'
import { openZip } from '#signstep/data/zip.js'
import { fgsm, gradient, loadModel, pgd } from '#signstep/index.js'
import { numbersOf } from '#signstep/tensor/index.js'
import { root, scratch } from '../support/cli.js'

// Float64 goldens from PyTorch; their README gives the tolerances.
const folder = join(root, '../shared/models/golden')
const names = existsSync(folder) ? readdirSync(folder).filter((name) => name.endsWith('.onnx')) : []
if (names.length === 0) console.warn('skipped: the golden models are not beside the checkout')

type Arrays = (name: string) => Promise<{ shape: readonly number[]; data: Float64Array }>

async function arraysOf(path: string): Promise<Arrays> {
  const zip = await openZip(path)
  return async (name) => {
    const array = await openNpzArray(zip, name)
    const tensor = await array.readRows(0, array.shape[0] ?? 1)
    await array.close()
    return { shape: array.shape, data: numbersOf(tensor) }
  }
}

const norm = (values: ArrayLike<number>): number => Math.sqrt(Array.from(values).reduce((a, v) => a + v * v, 0))

describe.skipIf(names.length === 0).each(names.length > 0 ? names : ['golden models'])('%s', (name) => {
  const path = join(folder, name)
  const open = async () => {
    const golden = await arraysOf(path.replace(/onnx$/, 'npz'))
    const images = Float32Array.from((await golden('images')).data)
    const labels = Int32Array.from((await golden('labels')).data)
    const preprocess = { mean: [...(await golden('mean')).data], std: [...(await golden('std')).data] }
    return { golden, images, labels, preprocess }
  }

  it('has the logits, losses and input gradients of PyTorch in its gradient file', async () => {
    const { golden, images, labels, preprocess } = await open()
    const file = join(scratch(), 'g.onnx')
    await gradient(path, file, preprocess)
    const session = await ort.InferenceSession.create(file, { logSeverityLevel: 3 })
    const { shape } = await golden('images')
    const found = await session.run({
      images: new ort.Tensor('float32', images, [...shape]),
      labels: new ort.Tensor('int64', BigInt64Array.from(labels, BigInt), [labels.length]),
    })
    const [logits, loss, grad] = await Promise.all(['logits', 'loss', 'grad'].map(golden))
    for (const [i, value] of logits.data.entries())
      expect(Math.abs((found.logits.data[i] as number) - value)).toBeLessThan(1e-4)
    for (const [i, value] of loss.data.entries())
      expect(Math.abs((found.loss.data[i] as number) - value)).toBeLessThan(1e-4)
    const per = grad.data.length / labels.length
    for (let i = 0; i < labels.length; i++) {
      const [wanted, got] = [grad.data, found.input_gradient.data as Float32Array].map((all) =>
        Array.from(all.subarray(i * per, (i + 1) * per)),
      )
      expect(norm(wanted.map((v, k) => v - got[k])) / norm(wanted)).toBeLessThan(1e-4)
    }
  })

  it("ends ten steps of PGD, in both norms, at PyTorch's loss, and FGSM at its pixels", async () => {
    const { golden, images, labels, preprocess } = await open()
    await using model = await loadModel(path, preprocess)
    const linf = await pgd(model, images, labels, { eps: '8/255', alpha: '2/255', steps: 10, randomStart: false })
    const l2 = await pgd(model, images, labels, { norm: 'l2', eps: 0.5, alpha: 0.1, steps: 10, randomStart: false })
    for (const [result, key] of [
      [linf, 'pgd_loss'],
      [l2, 'pgd_l2_loss'],
    ] as const)
      for (const [i, wanted] of (await golden(key)).data.entries())
        expect(Math.abs(result.loss[i] - wanted) / Math.max(Math.abs(wanted), 1e-3)).toBeLessThan(2e-2)
    const single = await fgsm(model, images, labels, { eps: '4/255' })
    const [grad, wanted] = [(await golden('grad')).data, (await golden('fgsm')).data]
    const per = grad.length / labels.length
    for (let i = 0; i < labels.length; i++) {
      const own = grad.subarray(i * per, (i + 1) * per)
      const largest = own.reduce((a, v) => Math.max(a, Math.abs(v)), 0)
      for (let k = 0; k < per; k++)
        if (Math.abs(own[k]) > 1e-3 * largest)
          expect(Math.abs(single.images[i * per + k] - wanted[i * per + k])).toBeLessThan(1e-6)
    }
  })
})
