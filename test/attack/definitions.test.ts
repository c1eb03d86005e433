import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { fgsm, loadModel, type Model, miFgsm, nFgsm, parseAttack, pgd, rsFgsm } from '#signstep/index.js'
import { linearModel } from '../support/linear-model.js'
import { randomNumbers } from '../support/random.js'

// Two classes, logits x·w and 0: the gradient of cross-entropy for label 0 is −p₁·w, of label 1 it is +p₀·w. Its sign is known.
const w = [1, -2, 0, 0.5, -0.25, 3]
const shape = [1, 2, 3] as const
const eps = 0.1
let model: Model

beforeAll(async () => {
  model = await loadModel(
    await linearModel(
      shape,
      w.map((v) => [v, 0]),
    ),
    { threads: 1 },
  )
})
afterAll(() => model?.dispose())

const random = randomNumbers(3)
const images = Float32Array.from({ length: 4 * 6 }, () => random())
const labels = Int32Array.of(0, 1, 0, 1)
const clamp = (v: number, low = 0, high = 1): number => Math.min(Math.max(v, low), high)
/** The direction that raises the loss of sample i at element k. */
const up = (i: number, k: number): number => (labels[i] === 0 ? -1 : 1) * Math.sign(w[k])

function expectClose(found: Float32Array, wanted: (i: number, k: number) => number): void {
  for (let i = 0; i < 4; i++)
    for (let k = 0; k < 6; k++) expect(Math.abs(found[i * 6 + k] - wanted(i, k))).toBeLessThan(1e-6)
}
const corner = (i: number, k: number): number => clamp(images[i * 6 + k] + eps * up(i, k))

describe('on a linear model, where every gradient is known', () => {
  it('FGSM moves each pixel by ε along the sign, and not at all where the gradient is zero', async () => {
    expectClose((await fgsm(model, images, labels, { eps })).images, corner)
  })

  it('PGD ends in the corner that FGSM finds, whatever its start', async () => {
    for (const seed of [0, 1]) {
      const { images: found } = await pgd(model, images, labels, { eps, alpha: 0.05, steps: 10, seed })
      // The pixel without gradient keeps its random start.
      expectClose(
        found.map((v, at) => (at % 6 === 2 ? images[at] : v)),
        corner,
      )
      for (let i = 0; i < 4; i++) expect(Math.abs(found[i * 6 + 2] - images[i * 6 + 2])).toBeLessThanOrEqual(eps + 1e-6)
    }
  })

  it('MI-FGSM takes steps of ε/steps', async () => {
    expectClose((await miFgsm(model, images, labels, { eps, steps: 5 })).images, corner)
  })

  it('PGD-L2 goes ε along the normalised gradient', async () => {
    const norm = Math.hypot(...w)
    const inner = images.map((v) => 0.3 + 0.4 * v) // far enough from 0 and 1 that nothing is clamped
    const { images: found, l2 } = await pgd(model, inner, labels, {
      norm: 'l2',
      eps: 0.2,
      steps: 3,
      randomStart: false,
    })
    expectClose(found, (i, k) => inner[i * 6 + k] + (0.2 * (labels[i] === 0 ? -1 : 1) * w[k]) / norm)
    for (const length of l2) expect(length).toBeCloseTo(0.2, 5)
  })

  it('RS-FGSM stays in the ball, N-FGSM may leave it up to (k + 1)·ε', async () => {
    const rs = await rsFgsm(model, images, labels, { eps, seed: 1 })
    const n = await nFgsm(model, images, labels, { eps, seed: 1 })
    for (const size of rs.linf) expect(size).toBeLessThanOrEqual(eps + 1e-6)
    for (const size of n.linf) expect(size).toBeLessThanOrEqual(3 * eps + 1e-6)
    expect(Math.max(...n.linf)).toBeGreaterThan(eps)
  })

  it('a targeted attack goes the other way', async () => {
    const target = Int32Array.from(labels, (label) => 1 - label)
    const { images: found } = await fgsm(model, images, labels, { eps, target })
    // With two classes, towards the other class is away from one's own.
    expectClose(found, corner)
    const own = await fgsm(model, images, labels, { eps, target: labels })
    expectClose(own.images, (i, k) => clamp(images[i * 6 + k] - eps * up(i, k)))
  })

  it('ε may differ from sample to sample', async () => {
    const sizes = Float32Array.of(0.01, 0.05, 0.1, 0.2)
    const { linf, images: found } = await fgsm(model, images, labels, { eps: sizes })
    expectClose(found, (i, k) => clamp(images[i * 6 + k] + sizes[i] * up(i, k)))
    for (const [i, size] of linf.entries()) expect(size).toBeLessThanOrEqual(sizes[i] + 1e-6)
  })

  it('reports the verdict of the images it returns', async () => {
    const { images: found, success, predictions, loss } = await pgd(model, images, labels, { eps, steps: 3 })
    const logits = await model.logits(found)
    for (let i = 0; i < 4; i++) {
      const [a, b] = [logits[2 * i], logits[2 * i + 1]]
      expect(predictions[i]).toBe(a >= b ? 0 : 1)
      expect(success[i]).toBe(Number(predictions[i] !== labels[i]))
      expect(loss[i]).toBeCloseTo(Math.log(Math.exp(a) + Math.exp(b)) - [a, b][labels[i]], 5)
    }
  })

  it('PGD on KL goes where it is led by its start, and reports the divergence from the clean logits', async () => {
    const softmax = (logits: Float32Array, i: number): number[] => {
      const [a, b] = [Math.exp(logits[2 * i]), Math.exp(logits[2 * i + 1])]
      return [a / (a + b), b / (a + b)]
    }
    const inner = images.map((v) => 0.3 + 0.4 * v)
    const clean = await model.logits(inner)
    for (const options of [{}, { earlyStop: true, restarts: 2 }, { iterate: 'best' }] as const) {
      const found = await pgd(model, inner, labels, { eps, alpha: 0.05, steps: 10, seed: 2, loss: 'kl', ...options })
      const logits = await model.logits(found.images)
      for (let i = 0; i < 4; i++) {
        const [p, q] = [softmax(clean, i), softmax(logits, i)]
        expect(found.loss[i]).toBeCloseTo(p[0] * Math.log(p[0] / q[0]) + p[1] * Math.log(p[1] / q[1]), 5)
        // Away from the clean logit on the side where it started: all pixels in one of the two corners.
        if (options.earlyStop !== undefined) continue
        const side = Math.sign(found.images[i * 6] - inner[i * 6])
        for (const k of [0, 1, 3, 4, 5])
          expect(found.images[i * 6 + k] - inner[i * 6 + k]).toBeCloseTo(side * eps * Math.sign(w[k]), 6)
      }
    }
  })

  it('counts gradients: one per sample, step and restart', async () => {
    expect((await pgd(model, images, labels, { eps, steps: 3, restarts: 2 })).gradientCalls).toBe(4 * 3 * 2)
    expect((await fgsm(model, images, labels, { eps })).gradientCalls).toBe(4)
  })
})

describe('the names of attacks', () => {
  it('carry steps and restarts', () => {
    expect(parseAttack('pgd-20', { eps: '8/255' })).toMatchObject({
      name: 'pgd-20',
      norm: 'linf',
      steps: 20,
      restarts: 1,
      eps: 8 / 255,
    })
    expect(parseAttack('pgd-50-10', { eps: '8/255' })).toMatchObject({ steps: 50, restarts: 10 })
    expect(parseAttack('pgd-l2-7', { eps: 0.5 })).toMatchObject({ norm: 'l2', steps: 7 })
    expect(parseAttack('pgd', { eps: 0.5, norm: 'l2' })).toMatchObject({ name: 'pgd', norm: 'l2', steps: 10 })
    expect(parseAttack('mi-fgsm-10', { eps: '4/255' })).toMatchObject({ steps: 10 })
  })
  it.each([
    ['an unknown name', () => parseAttack('pdg', { eps: 0.1 }), /pgd/],
    ['steps of FGSM', () => parseAttack('fgsm-3', { eps: 0.1 }), /one step/],
    ['FGSM in L2', () => parseAttack('fgsm', { eps: 0.1, norm: 'l2' }), /linf/],
    ['ε of 8', () => parseAttack('pgd', { eps: 8 }), /8\/255/],
    ['ε of 0', () => parseAttack('pgd', { eps: 0 }), /eps/],
    ['an unknown option', () => parseAttack('pgd', { eps: 0.1, stepz: 3 } as never), /steps/],
  ])('%s is refused with a cure', (_name, call, words) => {
    expect(call).toThrow(words)
  })
})

describe('bad input', () => {
  const refused = (call: Promise<unknown>, code: string) => expect(call).rejects.toMatchObject({ code })
  it('normalised images', () =>
    refused(
      fgsm(
        model,
        images.map((v) => 4 * v - 2),
        labels,
        { eps },
      ),
      'DATA_INVALID',
    ))
  it('NaN pixels', () =>
    refused(
      fgsm(
        model,
        images.map((v, i) => (i === 3 ? Number.NaN : v)),
        labels,
        { eps },
      ),
      'DATA_INVALID',
    ))
  it('labels out of range', () => refused(fgsm(model, images, Int32Array.of(0, 1, 2, 0), { eps }), 'DATA_CLASSES'))
  it('images that do not fit the labels', () =>
    refused(fgsm(model, images.slice(1), labels, { eps }), 'SHAPE_MISMATCH'))
  it('ε for other samples', () =>
    refused(fgsm(model, images, labels, { eps: new Float32Array(3).fill(0.1) }), 'SHAPE_MISMATCH'))
  it('targets or sample indices for other samples', async () => {
    await refused(fgsm(model, images, labels, { eps, target: new Int32Array(5) }), 'SHAPE_MISMATCH')
    await refused(fgsm(model, images, labels, { eps, sampleIndices: new Int32Array(3) }), 'SHAPE_MISMATCH')
  })
  it('arrays of another type', () => refused(fgsm(model, Array.from(images) as never, labels, { eps }), 'DATA_INVALID'))
  it.each([
    ['a missing ε', {}, /eps: is missing/],
    ['a loss that does not exist', { eps, loss: 'drl' }, /Did you mean dlr/],
    ['KL towards a target', { eps, loss: 'kl', target: 1 }, /loss: has no targeted form/],
    [
      'KL from the clean image',
      { eps, loss: 'kl', randomStart: false },
      /loss: has no slope at the clean image.*rs-fgsm/,
    ],
    ['a target that is no rule', { eps, target: 'secnd' }, /Did you mean second/],
    ['an iterate that does not exist', { eps, iterate: 'bset' }, /Did you mean best/],
    ['a norm that does not exist', { eps, norm: 'l1' }, /linf, l2/],
    ['a seed with a fraction', { eps, seed: 1.5 }, /seed.*whole number/],
    ['a negative seed', { eps, seed: -1 }, /seed.*whole number/],
    ['no steps', { eps, steps: 0 }, /steps.*whole number/],
    ['negative noise', { eps, noise: -1 }, /noise/],
  ])('%s', async (_name, options, words) => {
    const call = pgd(model, images, labels, options as never)
    await refused(call, 'OPTION_INVALID')
    await expect(call).rejects.toThrow(words)
  })
  it('KL in an attack that always starts at the clean image', () => {
    expect(() => parseAttack('fgsm', { eps, loss: 'kl' })).toThrow(/no slope/)
    expect(() => parseAttack('mi-fgsm-5', { eps, loss: 'kl' })).toThrow(/no slope/)
    expect(parseAttack('rs-fgsm', { eps, loss: 'kl' }).loss).toBe('kl')
  })
  it('a target that is no class', () => refused(fgsm(model, images, labels, { eps, target: 5 }), 'DATA_CLASSES'))
  it('DLR on two classes', () => refused(fgsm(model, images, labels, { eps, loss: 'dlr' }), 'DATA_CLASSES'))
})
