import { afterEach, beforeAll, describe, expect, it } from 'vitest'
import type { AttackState, Program } from '#signstep/backend/index.js'
import type { Dataset } from '#signstep/data/index.js'
import { evaluate } from '#signstep/evaluate/index.js'
import { loadModel, type Model, parseAttack, pgd } from '#signstep/index.js'
import { loadNative, type NativeEngine } from '#signstep/native/index.js'
import { randomLinearModel } from '../../support/linear-model.js'

const [SHAPE, PIXELS, BATCH, COUNT] = [[3, 8, 8] as const, 192, 4, 11]
const { file, images } = await randomLinearModel(21, COUNT)
let labels: Int32Array
let engine: NativeEngine

beforeAll(async () => {
  engine = await loadNative().openEngine('sim')
  await using model = await sim()
  labels = await model.predict(images)
})
afterEach(() => expect(engine.allocatedBytes()).toBe(0))

const sim = (batch = BATCH): Promise<Model> => loadModel(file, { device: 'sim', batch, precision: 'bf16' })

/** What happens to the batches of a model, in order: 'begun 0', 'steps 0', 'stepped 0' …; and how many were on the device at most. */
async function watch(model: Model): Promise<{ events: string[]; most: () => number }> {
  const program = (await model.program({ loss: 'cross-entropy', targeted: false })) as Program & {
    begin: Program['begin']
  }
  const events: string[] = []
  let [count, held, most] = [0, 0, 0]
  const begin = program.begin.bind(program)
  program.begin = async (batch) => {
    const number = count++
    most = Math.max(most, ++held)
    const state = await begin(batch)
    events.push(`begun ${number}`)
    const { dispose } = state
    for (const name of ['step', 'steps'] as const) {
      const run = state[name].bind(state) as (...given: unknown[]) => Promise<never>
      state[name] = (async (...given: unknown[]) => {
        events.push(`steps ${number}`)
        const result = await run(...given)
        events.push(`stepped ${number}`)
        return result
      }) as AttackState['step'] & AttackState['steps']
    }
    state.dispose = () => {
      held--
      return dispose.call(state)
    }
    return state
  }
  return { events, most: () => most }
}

const dataset = (): Dataset => ({
  name: 'array',
  length: COUNT,
  classes: [],
  labels,
  file: (index) => `array#${index}`,
  imageShape: SHAPE,
  read: async (index, out) => out.set(images.subarray(index * PIXELS, (index + 1) * PIXELS)),
  close: async () => {},
  [Symbol.asyncDispose]: async () => {},
})

describe('while the steps of one batch are made', () => {
  it('the next one is sent to the device, and no third', async () => {
    await using model = await sim()
    const { events, most } = await watch(model)
    await pgd(model, images, labels, { eps: '4/255', steps: 60 })
    for (const [before, after] of [
      ['steps 0', 'begun 1'],
      ['begun 1', 'stepped 0'],
      ['begun 2', 'stepped 1'],
    ])
      expect(events.indexOf(before)).toBeLessThan(events.indexOf(after))
    expect(events.filter((event) => event.startsWith('begun'))).toEqual(['begun 0', 'begun 1', 'begun 2'])
    expect(most()).toBe(2)
  })

  it('an evaluation sends the next attack, of the same batch or of the next one', async () => {
    await using model = await sim()
    const { events, most } = await watch(model)
    const attacks = ['pgd-60', 'pgd-70'].map((name) => parseAttack(name, { eps: '1/255', earlyStop: true }))
    const seen: number[] = []
    await evaluate(model, dataset(), {
      attacks,
      batch: BATCH,
      onBatch: ({ indices }) => void seen.push(indices[0]),
    })
    for (let i = 0; i < 5; i++)
      expect(events.indexOf(`begun ${i + 1}`)).toBeLessThan(events.lastIndexOf(`stepped ${i}`))
    expect(seen).toEqual([0, 4, 8])
    expect(most()).toBe(2)
  })
})

describe('what comes of it', () => {
  it('are the bits of one batch after the other', async () => {
    await using model = await sim()
    const options = { eps: '4/255', steps: 5, seed: 3, earlyStop: true } as const
    const together = await pgd(model, images, labels, options)
    for (let from = 0; from < COUNT; from += BATCH) {
      const to = Math.min(COUNT, from + BATCH)
      const sampleIndices = Int32Array.from({ length: to - from }, (_, i) => from + i)
      const alone = await pgd(model, images.slice(from * PIXELS, to * PIXELS), labels.slice(from, to), {
        ...options,
        sampleIndices,
      })
      expect(together.images.slice(from * PIXELS, to * PIXELS)).toEqual(alone.images)
      expect(together.loss.slice(from, to)).toEqual(alone.loss)
      expect(together.success.slice(from, to)).toEqual(alone.success)
    }
  })

  it('is the verdict on every batch before one that cannot be read, and then the failure', async () => {
    await using model = await sim()
    const seen: number[] = []
    const broken = { ...dataset() }
    const { read } = broken
    broken.read = (index, out) => (index === 9 ? Promise.reject(new Error('sample 9 is torn')) : read(index, out))
    const evaluation = evaluate(model, broken, {
      attacks: [parseAttack('pgd-20', { eps: '1/255' })],
      batch: BATCH,
      onBatch: ({ indices }) => void seen.push(indices[0]),
    })
    await expect(evaluation).rejects.toThrow('sample 9 is torn')
    expect(seen).toEqual([0, 4])
  })

  it('is nothing on the device after an abort', async () => {
    await using model = await sim()
    const controller = new AbortController()
    const attack = pgd(model, images, labels, { eps: '4/255', steps: 100_000, signal: controller.signal })
    setTimeout(() => controller.abort(), 100)
    await expect(attack).rejects.toMatchObject({ code: 'ABORTED' })
  })
})
