import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import type { Binding } from '#signstep/native/index.js'
import { type FakeInstallation, installFakeEngine } from '../support/fake-engine.js'
import { linearModel } from '../support/linear-model.js'
import { uncoveredModel } from '../support/uncovered-model.js'

/** The addon that everything below gets: beside it lies a plugin `cuda` with two devices that have room for three images. */
const installed = vi.hoisted(() => ({ native: undefined as Binding | undefined }))
vi.mock('#signstep/native/index.js', async (original) => {
  const real = await original<typeof import('#signstep/native/index.js')>()
  return { ...real, loadNative: () => installed.native ?? real.loadNative() }
})

const { loadModel, pgd } = await import('#signstep/index.js')

let fake: FakeInstallation
let file: string
beforeAll(async () => {
  fake = installFakeEngine('cuda')
  installed.native = fake.native
  file = await linearModel(
    [1, 2, 2],
    [
      [1, 2, 3],
      [1, 2, 3],
      [1, 2, 3],
      [1, 2, 3],
    ],
  )
})
afterAll(() => fake.remove())

describe('a model on a machine with GPUs', () => {
  it('goes to all of them by itself, says so, and takes the batch that has room on each', async () => {
    await using model = await loadModel(file)
    expect(model.backend.name).toBe('cuda')
    expect(model.deviceNote).toMatch(
      /^device cuda: 2 devices: Abacus \(compute capability 9\.0, 4 multiprocessors, 1\.0 GiB\), bf16/,
    )
    expect([model.batch, model.notes]).toEqual([6, []])
    expect([...(await model.logits(Float32Array.of(1, 2, 3, 4)))]).toEqual([10, 20, 30])
  })

  it('stays on the processor if our kernels do not cover it, and says why', async () => {
    await using model = await loadModel(await uncoveredModel())
    expect(model.backend.name).toBe('cpu')
    expect(model.deviceNote).toMatch(/^device cpu: ONNX Runtime .*; not cuda: .*Conv/)
  })

  it('refuses a precision that no device of this machine has for the model, instead of taking another', async () => {
    const uncovered = await uncoveredModel()
    const load = (precision: 'bf16' | 'fp16') => loadModel(uncovered, { precision })
    await expect(load('fp16')).rejects.toMatchObject({ code: 'OPERATOR_UNSUPPORTED' })
    // The plugin for bf16 on the processor does not lie beside this addon.
    await expect(load('bf16')).rejects.toMatchObject({ code: 'DEVICE_UNAVAILABLE' })
  })

  it('stays on the processor where that is asked for', async () => {
    await using model = await loadModel(file, { device: 'cpu' })
    expect([model.backend.name, model.deviceNote]).toEqual(['cpu', undefined])
  })

  it('goes to the GPU that is named, or nowhere', async () => {
    await using model = await loadModel(file, { device: 'cuda:1', precision: 'fp16' })
    expect(model.backend.description).toMatch(/^Abacus .* fp16; cuda plugin/)
    await expect(loadModel(file, { device: 'cuda:2' })).rejects.toMatchObject({
      code: 'DEVICE_UNAVAILABLE',
      message: expect.stringContaining('cuda:2: no such device; expected cuda:0 to cuda:1'),
    })
  })

  it('halves a batch that has no room until it has, and says so', async () => {
    await using model = await loadModel(file, { device: 'cuda:0', batch: 12 })
    expect(model.batch).toBe(3)
    expect(model.notes).toEqual(['cuda:0: out of memory at a batch of 12, so it runs with 3'])
    const { images } = await pgd(model, new Float32Array(4 * 7), new Int32Array(7), { eps: 0.1, steps: 2 })
    expect(images.length).toBe(4 * 7)
  })

  it('makes a whole attack in one launch, and tells of its steps afterwards', async () => {
    await using model = await loadModel(file, { device: 'cuda:0', batch: 3 })
    const program = await model.program({ loss: 'cross-entropy', targeted: false })
    expect(program.wholeAttacks).toBe(true)
    const seen: number[] = []
    const onProgress = ({ step }: { step: number }): void => void seen.push(step)
    await pgd(model, new Float32Array(4 * 2), new Int32Array(2), { eps: 0.1, steps: 3, onProgress })
    expect(seen).toEqual([1, 2, 3])
  })
})
