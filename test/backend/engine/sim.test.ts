import { spawnSync } from 'node:child_process'
import { afterEach, beforeAll, describe, expect, it } from 'vitest'
import { engineBackend, openDevices } from '#signstep/backend/index.js'
import { type GraphBuilder, N, type Value } from '#signstep/graph/index.js'
import { type AttackOptions, fgsm, loadModel, type Model, miFgsm, nFgsm, pgd, rsFgsm } from '#signstep/index.js'
import { loadNative, type NativeEngine } from '#signstep/native/index.js'
import { float32Tensor } from '#signstep/tensor/index.js'
import { demo, root } from '../../support/cli.js'
import { modelFile } from '../../support/linear-model.js'
import { randomNumbers } from '../../support/random.js'
import { uncoveredModel } from '../../support/uncovered-model.js'

const SHAPE = [3, 8, 8] as const
const [PIXELS, WIDTH, CLASSES, COUNT] = [192, 32, 10, 12]

/** Two products with a ReLU between: enough for every rule, quick in the simulator. */
function mlp(b: GraphBuilder, images: Value): Value {
  const next = randomNumbers(3)
  const weight = (rows: number, columns: number): Value =>
    b.parameter(
      float32Tensor(
        [rows, columns],
        Array.from({ length: rows * columns }, () => (next() - 0.5) / 2),
      ),
      `w${rows}`,
    )
  const hidden = b.emit('Relu', [b.matMul(b.reshape(images, [N, PIXELS]), weight(PIXELS, WIDTH))])
  return b.matMul(hidden, weight(WIDTH, CLASSES))
}

let file: string
let engine: NativeEngine
const next = randomNumbers(5)
const images = Float32Array.from({ length: COUNT * PIXELS }, () => next())
let labels: Int32Array

beforeAll(async () => {
  file = await modelFile(SHAPE, mlp)
  engine = await loadNative().openEngine('sim')
  await using cpu = await loadModel(file, { device: 'cpu' })
  labels = await cpu.predict(images)
})
afterEach(() => expect(engine.allocatedBytes()).toBe(0))

const sim = (options: object = {}): Promise<Model> => loadModel(file, { device: 'sim', batch: 5, ...options })
const cosine = (a: Float32Array, b: Float32Array): number => {
  const dot = (x: Float32Array, y: Float32Array): number => x.reduce((sum, v, i) => sum + v * y[i], 0)
  return dot(a, b) / Math.sqrt(dot(a, a) * dot(b, b))
}
const largest = (a: Float32Array, b: Float32Array): number =>
  a.reduce((most, v, i) => Math.max(most, Math.abs(v - b[i])), 0)

describe.each(['float32', 'bf16', 'fp16'] as const)(
  'in %s, the simulator does what the processor does',
  (precision) => {
    // In 16 bits single signs differ where a gradient is next to nothing, and the loss with them.
    const tolerance = precision === 'float32' ? 1e-4 : 0.02

    it('scores in float32 accuracy', async () => {
      await using cpu = await loadModel(file, { device: 'cpu' })
      await using model = await sim({ precision })
      expect(largest(await model.logits(images), await cpu.logits(images))).toBeLessThan(1e-4)
    })

    it.each([
      ['FGSM', fgsm, {}],
      ['RS-FGSM', rsFgsm, {}],
      ['N-FGSM', nFgsm, {}],
      ['PGD', pgd, { steps: 5 }],
      ['PGD with early stop', pgd, { steps: 5, earlyStop: true }],
      ['PGD with restarts on the margin', pgd, { steps: 3, restarts: 2, loss: 'margin' }],
      ['PGD in L2, the best iterate', pgd, { steps: 5, norm: 'l2', eps: 0.5, iterate: 'best' }],
      ['PGD from the sphere', pgd, { steps: 3, norm: 'l2', eps: 0.5, start: 'sphere' }],
      ['targeted PGD on DLR', pgd, { steps: 5, loss: 'dlr', target: 'second' }],
      ['MI-FGSM', miFgsm, { steps: 4 }],
      ['PGD on KL', pgd, { steps: 4, loss: 'kl' }],
      ['PGD on KL with early stop and restarts', pgd, { steps: 5, loss: 'kl', earlyStop: true, restarts: 2 }],
    ] as const)('%s', async (_name, attack, options) => {
      const run = (model: Model) =>
        attack(model, images, labels, { eps: '6/255', seed: 4, ...options } as AttackOptions)
      await using cpu = await loadModel(file, { device: 'cpu', batch: 5 })
      await using model = await sim({ precision })
      const [expected, found] = [await run(cpu), await run(model)]
      const scale = Math.max(1, ...expected.loss.map(Math.abs))
      expect(largest(found.loss, expected.loss) / scale).toBeLessThan(tolerance)
      const flips = found.success.reduce((sum, flag, i) => sum + Number(flag !== expected.success[i]), 0)
      expect(flips).toBeLessThanOrEqual(precision === 'float32' ? 0 : 1)
      expect(largest(found.linf, expected.linf)).toBeLessThan(precision === 'float32' ? 1e-5 : 0.02)
      expect(found.nanGradients).toBe(0)
    })
  },
)

it('attacks a vision transformer as the processor does', async () => {
  const count = 2
  const pictures = Float32Array.from({ length: count * 3072 }, () => next())
  const options = { mean: [0.5, 0.5, 0.5], std: [0.25, 0.25, 0.25], batch: count }
  const measure = async (device: 'cpu' | 'sim') => {
    await using model = await loadModel(demo('vit.onnx'), { ...options, device })
    const classes = Int32Array.of(3, 7)
    const program = await model.program({ loss: 'cross-entropy', targeted: false })
    const batch = { images: pictures, labels: classes, sampleIndices: Int32Array.of(0, 1), seed: 0 }
    const state = await program.begin(batch)
    await state.start({ kind: 'clean' })
    const gradient = await state.gradient()
    await state.step({ kind: 'linf', alpha: 0.01, eps: 0.01, direction: 1 })
    const { loss } = await state.score()
    await state.dispose()
    return { gradient, loss }
  }
  const [expected, found] = [await measure('cpu'), await measure('sim')]
  expect(cosine(expected.gradient, found.gradient)).toBeGreaterThan(0.999)
  for (const [i, loss] of expected.loss.entries()) expect(Math.abs(found.loss[i] / loss - 1)).toBeLessThan(0.01)
}, 120_000)

it('climbs KL on a vision transformer as the processor does', async () => {
  const count = 2
  const pictures = Float32Array.from({ length: count * 3072 }, () => next())
  const measure = async (device: 'cpu' | 'sim') => {
    const options = { mean: [0.5, 0.5, 0.5], std: [0.25, 0.25, 0.25], batch: count, precision: 'float32' } as const
    await using model = await loadModel(demo('vit.onnx'), { ...options, device })
    const program = await model.program({ loss: 'kl', targeted: false })
    const state = await program.begin({
      images: pictures,
      labels: Int32Array.of(3, 7),
      referenceLogits: await program.forward(pictures.slice(), count),
      sampleIndices: Int32Array.of(0, 1),
      seed: 0,
    })
    await state.start({ kind: 'uniform', eps: 0.06, scale: 1, restart: 0 })
    const gradient = await state.gradient()
    const { loss: before } = await state.step({ kind: 'l2', alpha: 0.5, eps: 9, direction: 1 })
    const { loss: after } = await state.score()
    await state.dispose()
    return { gradient, before, after }
  }
  const [expected, found] = [await measure('cpu'), await measure('sim')]
  expect(cosine(expected.gradient, found.gradient)).toBeGreaterThan(0.99999)
  for (let i = 0; i < count; i++) {
    expect(expected.after[i]).toBeGreaterThan(2 * expected.before[i])
    // Near the clean image it is what float32 leaves of a difference of entropies.
    for (const at of ['before', 'after'] as const)
      expect(Math.abs(found[at][i] - expected[at][i])).toBeLessThan(1e-3 * expected[at][i] + 1e-6)
  }
}, 120_000)

describe('a result', () => {
  it('does not depend on the batch it was computed in', async () => {
    await using small = await sim({ batch: 3 })
    await using large = await sim({ batch: 12 })
    const run = (model: Model) => pgd(model, images, labels, { eps: '8/255', steps: 4, seed: 9 })
    const [a, b] = [await run(small), await run(large)]
    expect(a.images).toEqual(b.images)
    expect(a.loss).toEqual(b.loss)
  })

  it('does not depend on whether anyone looks between the steps', async () => {
    await using model = await sim()
    const seen: number[] = []
    const options = { eps: '8/255', steps: 4, seed: 9, iterate: 'best' } as const
    const ahead = await pgd(model, images, labels, options)
    const watched = await pgd(model, images, labels, { ...options, onProgress: ({ step }) => seen.push(step) })
    expect(watched.images).toEqual(ahead.images)
    expect(watched.correctAfterStep).toEqual(ahead.correctAfterStep)
    expect(seen.slice(0, 4)).toEqual([1, 2, 3, 4])
  })
})

describe('several steps in one launch', () => {
  it('are the steps one by one', async () => {
    await using model = await sim()
    const program = await model.program({ loss: 'cross-entropy', targeted: false })
    const begin = () =>
      program.begin({
        images: images.slice(0, 4 * PIXELS),
        labels: labels.slice(0, 4),
        sampleIndices: Int32Array.of(0, 1, 2, 3),
        seed: 1,
      })
    const rule = { kind: 'momentum', alpha: 0.01, eps: 0.03, decay: 1, direction: 1 } as const
    const [one, many] = [await begin(), await begin()]
    for (const state of [one, many]) await state.start({ kind: 'uniform', eps: 0.03, scale: 1, restart: 0 })
    const steps = [await one.step(rule), await one.step(rule), await one.step(rule)]
    expect(await many.steps(rule, 3)).toEqual(steps)
    expect(await many.images()).toEqual(await one.images())
    expect((await many.gradient()).length).toBe(4 * PIXELS)
    await expect(many.step({ ...rule, alpha: new Float32Array(3) })).rejects.toMatchObject({ code: 'RUNTIME_FAILED' })
    await one.dispose()
    await many.dispose()
  })

  it('end within one of them when they are aborted, and the model goes on', async () => {
    await using model = await sim()
    const controller = new AbortController()
    const attack = pgd(model, images, labels, { eps: '8/255', steps: 100_000, signal: controller.signal })
    setTimeout(() => controller.abort(), 50)
    const begun = performance.now()
    await expect(attack).rejects.toMatchObject({ code: 'ABORTED' })
    await model.logits(images)
    expect(performance.now() - begun).toBeLessThan(5000)
    await expect(model.logits(images, { signal: AbortSignal.abort() })).rejects.toMatchObject({ code: 'ABORTED' })
  })
})

describe('a device', () => {
  it('that cannot be had is refused with the reason', async () => {
    await expect(loadModel(file, { device: 'cuda:99' })).rejects.toMatchObject({ code: 'DEVICE_UNAVAILABLE' })
    await expect(openDevices('cuda:99')).rejects.toThrow(/cuda:99: .+/)
  })

  it.each([
    [{ device: 'gpu' }, /device: is no device; expected auto, cpu, cuda, cuda:1 … or sim; found 'gpu'/],
    [{ device: 'cuda:x' }, /cuda:x/],
    [{ precision: 'int8' }, /precision.*bf16, fp16, float32, fp8/],
    [{ device: 'cpu', precision: 'fp16' }, /precision.*expected float32 or bf16/],
    [{ device: 'cpu', precision: 'fp8' }, /precision.*expected float32 or bf16; found 'fp8'/],
  ])('%j is refused', (options, words) => expect(loadModel(file, options as never)).rejects.toThrow(words))

  it('that is left to us is named with the reason', async () => {
    await using model = await loadModel(file)
    expect(model.deviceNote).toMatch(/^device (cuda: .+|cpu: ONNX Runtime .*; not cuda: .+)/)
    await using named = await loadModel(file, { device: 'cpu' })
    expect(named.deviceNote).toBeUndefined()
  })

  it('refuses a model that no kernel covers by the name of the node', async () => {
    await expect(loadModel(await uncoveredModel(), { device: 'sim' })).rejects.toMatchObject({
      code: 'OPERATOR_UNSUPPORTED',
      message: expect.stringMatching(/Conv.*a grouped Conv.*--device cpu/s),
    })
  })

  it('rejects every call after dispose', async () => {
    const model = await sim()
    const program = await model.program({ loss: 'cross-entropy', targeted: false })
    await model.dispose()
    await model.dispose()
    await expect(program.forward(images.slice(0, PIXELS), 1)).rejects.toMatchObject({ code: 'RUNTIME_FAILED' })
    await expect(model.logits(images)).rejects.toMatchObject({ code: 'RUNTIME_FAILED' })
  })

  it('lets go of a program whose load is under way when it is disposed of', async () => {
    await using model = await sim()
    const backend = await engineBackend({ device: 'sim' })
    const graphs = (model as unknown as { parts: { graph: never; preprocess: never } }).parts
    const { forwardGraph, jointGraph } = await import('#signstep/autodiff/index.js')
    const forward = forwardGraph(graphs.graph, graphs.preprocess)
    const options = { loss: 'cross-entropy', targeted: false } as const
    const gradient = jointGraph(graphs.graph, { preprocess: graphs.preprocess, ...options })
    const compiled = backend.compile({ forward, gradient }, { batch: 2, ...options })
    await backend.dispose()
    await expect(compiled).rejects.toMatchObject({ code: 'RUNTIME_FAILED' })
  })

  it('can be left in the middle of a step', () => {
    const script = `
      import { loadModel, pgd } from '${root}dist/index.js'
      const m = await loadModel('${file}', { device: 'sim', batch: 4 })
      pgd(m, new Float32Array(${4 * PIXELS}), new Int32Array(4), { eps: 0.1, steps: 100000 })
      setTimeout(() => process.exit(7), 300)`
    const { status, signal, stderr } = spawnSync(process.execPath, ['--input-type=module', '-e', script], {
      encoding: 'utf8',
      timeout: 20_000,
    })
    expect([status, signal, stderr]).toEqual([7, null, ''])
  })
})
