import { afterEach, beforeAll, describe, expect, it } from 'vitest'
import { type AttackOptions, loadModel, type Model, miFgsm, pgd } from '#signstep/index.js'
import { loadNative, type NativeEngine } from '#signstep/native/index.js'
import { randomLinearModel } from '../../support/linear-model.js'

const COUNT = 13
const { file, images } = await randomLinearModel(31, COUNT)
let labels: Int32Array
let engine: NativeEngine

beforeAll(async () => {
  engine = await loadNative().openEngine('sim')
  await using model = await sim(8)
  labels = await model.predict(images)
})

/** Bytes that the simulated device has from now on. */
function limit(bytes: number | undefined): void {
  if (bytes === undefined) delete process.env.SIGNSTEP_SIM_MEMORY
  else process.env.SIGNSTEP_SIM_MEMORY = String(bytes)
}
afterEach(() => {
  limit(undefined)
  expect(engine.allocatedBytes()).toBe(0)
})

const sim = (batch: number): Promise<Model> => loadModel(file, { device: 'sim', batch, precision: 'bf16' })
async function bytesAt(batch: number): Promise<number> {
  await using _model = await sim(batch)
  return engine.allocatedBytes()
}

const attacks = [
  ['PGD that retires samples', pgd, { earlyStop: true, restarts: 2 }],
  ['PGD that remembers the best iterate', pgd, { iterate: 'best' }],
  ['MI-FGSM', miFgsm, {}],
] as const
const run = (attack: typeof pgd, model: Model, options: object) =>
  attack(model, images, labels, { eps: '4/255', steps: 4, seed: 7, ...options } as AttackOptions)

describe('where memory runs out', () => {
  it('as a program is loaded, half the batch is taken and half again, and said once', async () => {
    limit((await bytesAt(16)) - 1)
    {
      await using half = await sim(16)
      expect(half.batch).toBe(8)
      expect(half.notes).toEqual(['sim: out of memory at a batch of 16, so it runs with 8'])
    }
    limit(undefined)
    limit((await bytesAt(2)) + 1)
    await using least = await sim(16)
    expect(least.batch).toBe(2)
    expect(least.notes).toEqual(['sim: out of memory at a batch of 16, so it runs with 2'])
  })

  it.each(attacks)(
    'as %s runs, it goes on with half the batch, says so once and comes to the same',
    async (_, attack, options) => {
      await using ample = await sim(8)
      const expected = await run(attack, ample, options)
      expect(ample.notes).toEqual([])
      await ample.dispose()
      await using model = await sim(8)
      limit(engine.allocatedBytes())
      const found = await run(attack, model, options)
      expect(found).toEqual(expected)
      expect(model.notes).toEqual([
        'sim: out of memory in an attack on cross-entropy at a batch of 8, so it runs with 4',
      ])
      expect(await run(attack, model, options)).toEqual(expected)
      expect(model.notes).toHaveLength(1)
    },
  )

  it('for a single image, that is the error', async () => {
    limit(1000)
    await expect(sim(4)).rejects.toMatchObject({ code: 'OUT_OF_MEMORY' })
    limit(undefined)
    await using model = await sim(1)
    limit(engine.allocatedBytes())
    await expect(run(miFgsm, model, {})).rejects.toMatchObject({
      code: 'OUT_OF_MEMORY',
      message: expect.stringMatching(/out of memory/),
    })
    limit(undefined)
    expect((await run(miFgsm, model, {})).success).toHaveLength(COUNT)
  })
})
