import { execFile } from 'node:child_process'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'
import { Worker } from 'node:worker_threads'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import type { NativeAttack, NativeEngine, NativeProgram } from '#signstep/native/index.js'
import { type FakeInstallation, installFakeEngine } from '../support/fake-engine.js'

const run = promisify(execFile)
let fake: FakeInstallation
let engine: NativeEngine

beforeAll(async () => {
  fake = installFakeEngine()
  engine = await fake.native.openEngine('fake')
})
afterAll(() => fake.remove())
// Whatever a test did: nothing may be left on the device.
afterEach(() => expect.poll(() => engine.allocatedBytes(), { timeout: 5000 }).toBe(0))

const plan = (words: string): Uint8Array => new TextEncoder().encode(words)
const small = plan('classes 3 image 1 2 2 batch 8')
const load = (words = 'classes 3 image 1 2 2 batch 8'): Promise<NativeProgram> =>
  engine.loadProgram(plan(words), 0, 0, 0)
const ramp = (count: number): Float32Array => Float32Array.from({ length: 4 * count }, (_, i) => i / 64)

async function begin(program: NativeProgram, count = 4): Promise<NativeAttack> {
  const labels = Int32Array.from({ length: count }, (_, i) => i % 3)
  return program.beginAttack(ramp(count), labels, undefined, Int32Array.from(labels.keys()), 5n)
}
const filled = (count: number, value: number): Float32Array => new Float32Array(count).fill(value)

describe('an engine', () => {
  test('tells its name, version and devices', async () => {
    expect(engine).toMatchObject({ name: 'fake', version: fake.native.version(), deviceCount: 2, why: '' })
    expect(await engine.deviceInfo(1)).toEqual({
      name: 'Abacus',
      computeCapability: 90,
      multiprocessors: 4,
      memory: 2 ** 30,
      freeMemory: 2 ** 29,
      precisions: 7,
    })
    await expect(engine.deviceInfo(2)).rejects.toMatchObject({ code: 'INVALID', message: /expected 0 or 1, found 2/ })
  })

  test('that does not exist is refused with the file that was looked for', async () => {
    await expect(fake.native.openEngine('nothing')).rejects.toMatchObject({
      code: 'UNSUPPORTED',
      message: expect.stringMatching(/libsignstep_nothing-.*no such file/),
    })
    await expect(fake.native.openEngine('../evil')).rejects.toMatchObject({ code: 'UNSUPPORTED' })
  })

  test('refuses a plan that it cannot read, and too large a batch', async () => {
    await expect(load('rubbish')).rejects.toMatchObject({ code: 'INVALID', message: /rubbish/ })
    await expect(engine.loadProgram(small, 0, 9, 0)).rejects.toMatchObject({
      code: 'RUNTIME_FAILED',
      message: /memory/,
    })
    expect(() => engine.loadProgram([] as unknown as Uint8Array, 0, 0, 0)).toThrow(TypeError)
  })
})

describe('a program', () => {
  test('says what it is and gives logits', async () => {
    const program = await engine.loadProgram(small, 1, 5, 2)
    expect(program.info).toEqual({
      channels: 1,
      height: 2,
      width: 2,
      classes: 3,
      batch: 5,
      precision: 2,
      targeted: false,
      deviceBytes: 1000,
    })
    const logits = await program.forward(Float32Array.of(1, 2, 3, 4, 0, 0, 0, 1)).promise
    expect([...logits]).toEqual([10, 20, 30, 1, 2, 3])
    await program.dispose()
  })

  test('takes images from a view and from shared memory', async () => {
    const program = await load()
    const shared = new Float32Array(new SharedArrayBuffer(4 * 9)).fill(1).subarray(1, 5)
    expect([...(await program.forward(shared).promise)]).toEqual([4, 8, 12])
    await program.dispose()
  })

  test.each([
    ['no images', () => new Float32Array(0)],
    ['half an image', () => new Float32Array(6)],
    ['more than the batch', () => new Float32Array(36)],
    ['an array of numbers', () => [1, 2, 3, 4]],
  ])('refuses %s at once', async (_, images) => {
    const program = await load()
    expect(() => program.forward(images() as Float32Array)).toThrow(TypeError)
    await program.dispose()
  })

  test('refuses arrays that do not go together', async () => {
    const program = await load()
    const one = Int32Array.of(1)
    expect(() => program.beginAttack(ramp(2), one, undefined, one, 0n)).toThrow(/images: expected 4 elements/)
    expect(() => program.beginAttack(ramp(1), one, one, one, 0n)).toThrow(/targets: expected undefined/)
    expect(() => program.beginAttack(ramp(1), one, undefined, Int32Array.of(1, 2), 0n)).toThrow(/sampleIndices/)
    expect(() => program.beginAttack(ramp(1), one, undefined, one, 0 as unknown as bigint)).toThrow(/seed/)
    await expect(program.beginAttack(ramp(1), one, undefined, Int32Array.of(-1), 0n)).rejects.toMatchObject({
      code: 'INVALID',
      message: /sample_indices/,
    })
    await program.dispose()
    const targeted = await load('classes 3 image 1 2 2 batch 8 targeted')
    expect(() => targeted.beginAttack(ramp(1), one, undefined, one, 0n)).toThrow(/targets: expected an Int32Array/)
    await targeted.dispose()
    const kl = await load('classes 3 image 1 2 2 batch 8 kl')
    expect(() => kl.beginAttack(ramp(1), one, undefined, one, 0n)).toThrow(/referenceLogits: expected a Float32Array/)
    expect(() => kl.beginAttack(ramp(1), one, undefined, one, 0n, filled(2, 1))).toThrow(
      /referenceLogits: expected 3 el/,
    )
    await kl.dispose()
  })

  test('hands reference logits to the device, for KL alone', async () => {
    const kl = await load('classes 3 image 1 2 2 batch 8 kl')
    const attack = await kl.beginAttack(ramp(1), Int32Array.of(1), undefined, Int32Array.of(0), 0n, filled(3, 7))
    expect([...(await attack.images())]).toEqual([7, 7, 7, 3 / 64])
    await kl.dispose()
    const other = await load()
    expect(() => other.beginAttack(ramp(1), Int32Array.of(1), undefined, Int32Array.of(0), 0n, filled(3, 7))).toThrow(
      /referenceLogits: expected undefined/,
    )
    await other.dispose()
  })

  test('is gone after dispose, with its attacks', async () => {
    const program = await load()
    const attack = await begin(program)
    const score = attack.score().promise
    const ended = program.dispose()
    expect(() => program.forward(ramp(1))).toThrow(/disposed/)
    expect(() => attack.score()).toThrow(/disposed/)
    expect(() => program.dispose()).toThrow(/disposed/)
    await score
    await ended
    expect(engine.allocatedBytes()).toBe(0)
  })
})

describe('an attack', () => {
  test('starts, steps, tells and ends', async () => {
    const program = await load()
    const attack = await begin(program, 2)
    await attack.start(1, Float32Array.of(0.5, 1), 2, 0)
    expect([...(await attack.images())]).toEqual([...ramp(2)].map((v, i) => v + (i < 4 ? 1 : 2)))
    await attack.start(0, filled(2, 0), 1, 0)
    const found = await attack.steps(0, filled(2, 0.25), Float32Array.of(0.5, 9), 1, 1, 3, false, false).promise
    expect([...found.loss]).toEqual([0, 0, 1, 1, 2, 2])
    expect([...found.predictions]).toEqual([0, 1, 0, 1, 0, 1])
    expect([...found.nanGradients]).toEqual([0, 0, 0, 0, 0, 0])
    expect([...found.left]).toEqual([2, 2, 2])
    expect([...found.zeroGradients]).toEqual([0, 0, 0, 0, 0, 0])
    expect([...(await attack.gradient().promise)].map((v) => Math.round(v * 100))).toEqual([
      50, 50, 50, 50, 75, 75, 75, 75,
    ])
    await attack.steps(0, filled(2, 1), undefined, 1, -1, 1, false, true).promise
    expect([...(await attack.images(Int32Array.of(1)))]).toEqual([...ramp(2).slice(4)].map((v) => v - 0.25))
    const { loss, predictions, logits } = await attack.score().promise
    expect([loss.length, [...predictions], logits.length]).toEqual([2, [0, 1], 6])
    expect([...(await attack.best()).loss]).toEqual([7, 7])
    await attack.dispose()
    expect(() => attack.score()).toThrow(/disposed/)
    await program.dispose()
  })

  // Of the fake engine's samples those retire whose label is the number of steps made before: here the first and the last two, one by one.
  const retiring = (attack: NativeAttack, count: number, steps = 3) =>
    attack.steps(0, filled(count, 1), undefined, 1, 1, steps, true, false)

  test('counts on the samples that have not retired, and keeps those that have', async () => {
    const program = await load()
    const attack = await begin(program, 4)
    const { left, predictions } = await retiring(attack, 4, 2).promise
    expect([...left]).toEqual([2, 1])
    expect([...predictions]).toEqual([0, 1, 2, 3, 1, 2, 0, 0])
    expect([...(await attack.images())]).toEqual([...ramp(4).slice(8, 12)].map((v) => v + 2))
    expect([...(await attack.finished(Int32Array.of(1, 3)))]).toEqual([
      ...[...ramp(4).slice(4, 8)].map((v) => v + 1),
      ...ramp(4).slice(12, 16),
    ])
    expect(() => retiring(attack, 4)).toThrow(/alpha: expected 1 elements/)
    await expect(attack.finished(Int32Array.of(2))).rejects.toMatchObject({ code: 'INVALID' })
    expect([...(await retiring(attack, 1, 2).promise).left]).toEqual([0, 0])
    await program.dispose()
  })

  test('takes no other call before it is known who has retired', async () => {
    const program = await load('classes 3 image 1 2 2 batch 8 milliseconds 100')
    const attack = await begin(program, 4)
    const steps = retiring(attack, 4)
    expect(() => attack.images()).toThrow(/samples are retiring/)
    await steps.promise
    expect((await attack.images()).length).toBe(0)
    await program.dispose()
  })

  test('has ended if it is called back while samples retire', async () => {
    const program = await load('classes 3 image 1 2 2 batch 8 milliseconds 20')
    const attack = await begin(program, 4)
    const steps = retiring(attack, 4, 1000)
    await sleep(50)
    steps.cancel()
    await expect(steps.promise).rejects.toMatchObject({ code: 'ABORTED' })
    await expect(attack.images()).rejects.toMatchObject({ message: 'the attack has ended' })
    await program.dispose()
  })

  test('is begun while another one steps', async () => {
    const program = await load('classes 3 image 1 2 2 batch 8 milliseconds 300')
    const first = await begin(program, 1)
    const order: string[] = []
    const steps = first.steps(0, filled(1, 1), undefined, 1, 1, 1, false, false).promise.then(() => order.push('steps'))
    const second = await begin(program, 2)
    order.push('begun')
    await steps
    expect(order).toEqual(['begun', 'steps'])
    expect((await second.images()).length).toBe(8)
    await program.dispose()
  })

  test('that is being begun when its program is disposed of leaves nothing behind', async () => {
    const program = await load('classes 3 image 1 2 2 batch 8 milliseconds 100')
    const first = await begin(program, 1)
    const steps = first.steps(0, filled(1, 1), undefined, 1, 1, 1, false, false).promise
    const second = begin(program, 2)
    await program.dispose()
    await steps
    const attack = await second
    expect(() => attack.images()).toThrow(/disposed/)
  })

  test.each([[[4]], [[-1]], [[0, 1, 2, 3, 0]]])('has no rows %j', async (rows) => {
    const program = await load()
    const attack = await begin(program, 4)
    expect(() => attack.images(Int32Array.from(rows))).toThrow(/rows: expected/)
    expect(() => attack.finished(Int32Array.from(rows))).toThrow(/positions: expected/)
    expect((await attack.images()).length).toBe(16)
    await program.dispose()
  })

  test('can be called back while it steps, and goes on', async () => {
    const program = await load('classes 3 image 1 2 2 batch 8 milliseconds 20')
    const attack = await begin(program, 1)
    const job = attack.steps(0, filled(1, 1), undefined, 1, 1, 1000, false, false)
    const waiting = attack.score()
    await sleep(50)
    waiting.cancel()
    job.cancel()
    await expect(job.promise).rejects.toMatchObject({ code: 'ABORTED' })
    await expect(waiting.promise).rejects.toMatchObject({ code: 'ABORTED' })
    job.cancel()
    await attack.start(0, filled(1, 0), 1, 0)
    expect([...(await attack.images())]).toEqual([...ramp(1)])
    await program.dispose()
  })
})

test('the event loop stays free', async () => {
  const program = await load('classes 3 image 1 2 2 batch 8 milliseconds 300')
  let turns = 0
  const timer = setInterval(() => turns++, 1)
  await program.forward(ramp(1)).promise
  clearInterval(timer)
  expect(turns).toBeGreaterThan(50)
  await program.dispose()
})

test('programs run side by side', async () => {
  const programs = await Promise.all(
    Array.from({ length: 4 }, () => load('classes 3 image 1 2 2 batch 8 milliseconds 200')),
  )
  const begun = performance.now()
  await Promise.all(programs.map((program) => program.forward(ramp(1)).promise))
  expect(performance.now() - begun).toBeLessThan(600)
  await Promise.all(programs.map((program) => program.dispose()))
})

describe('the process', () => {
  const header = (milliseconds: number): string => `
    const native = require(${JSON.stringify('PATH')})
    const text = 'classes 3 image 1 2 2 batch 8 milliseconds ${milliseconds}'
    const open = async () => {
      const engine = await native.openEngine('fake')
      const program = await engine.loadProgram(Buffer.from(text), 0, 0, 0)
      const attack = await program.beginAttack(new Float32Array(4), new Int32Array(1), undefined, new Int32Array(1), 0n)
      return { engine, program, attack }
    }
    const one = Float32Array.of(1)
    const steps = (attack, count) => attack.steps(0, one, undefined, 1, 1, count, false, false);
  `
  const code = (milliseconds: number, body: string): string =>
    header(milliseconds).replace('"PATH"', JSON.stringify(fake.path)) + body
  const node = async (
    source: string,
    ...flags: string[]
  ): Promise<{ stdout: string; stderr: string; seconds: number }> => {
    const begun = performance.now()
    const { stdout, stderr } = await run(process.execPath, [...flags, '-e', source], { timeout: 20_000 })
    return { stdout, stderr, seconds: (performance.now() - begun) / 1000 }
  }

  test('ends at once when process.exit comes in the middle of a step', async () => {
    const { seconds, stderr } = await node(
      code(50, 'open().then(({ attack }) => { steps(attack, 1000); setTimeout(() => process.exit(0), 100) })'),
    )
    expect(seconds).toBeLessThan(2)
    expect(stderr).toBe('')
  })

  test('does not wait for a forward pass that cannot be called back', async () => {
    const { seconds, stderr } = await node(
      code(
        5000,
        'open().then(({ program }) => { program.forward(new Float32Array(4)); setTimeout(() => process.exit(0), 100) })',
      ),
    )
    expect(seconds).toBeLessThan(3)
    expect(stderr).toBe('')
  })

  test('ends by itself after the work under way, although a program is loaded', async () => {
    const { stdout } = await node(
      code(5, 'open().then(async ({ attack }) => { steps(attack, 10).promise.then(() => console.log("settled")) })'),
    )
    expect(stdout).toBe('settled\n')
  })

  test('ends on Ctrl-C in the middle of a step', async () => {
    const child = execFile(process.execPath, [
      '-e',
      code(50, 'open().then(({ attack }) => { steps(attack, 1000); console.log("started") })'),
    ])
    await new Promise((resolve) => child.stdout?.once('data', resolve))
    const ended = new Promise((resolve) => child.once('exit', (_, signal) => resolve(signal)))
    child.kill('SIGINT')
    expect(await ended).toBe('SIGINT')
  })

  test('frees programs and attacks that are forgotten', async () => {
    const { stdout } = await node(
      code(
        0,
        `(async () => {
          const engine = await native.openEngine('fake')
          await (async () => { for (let i = 0; i < 20; i++) await open() })()
          for (let i = 0; i < 100 && engine.allocatedBytes() > 0; i++) {
            gc()
            await new Promise((resolve) => setTimeout(resolve, 10))
          }
          console.log(engine.allocatedBytes())
        })()`,
      ),
      '--expose-gc',
    )
    expect(stdout).toBe('0\n')
  })

  test('keeps a program alive for the attack on it', async () => {
    const { stdout } = await node(
      code(
        0,
        `(async () => {
          let { attack } = await open()
          for (let i = 0; i < 10; i++) { gc(); await new Promise((resolve) => setTimeout(resolve, 10)) }
          await steps(attack, 2).promise
          console.log([...(await attack.images())].join())
        })()`,
      ),
      '--expose-gc',
    )
    expect(stdout).toBe('2,2,2,2\n')
  })

  test('of a worker: terminate() is prompt in the middle of a step and frees everything', async () => {
    for (const [milliseconds, body] of [
      [20, 'steps(attack, 1000)'],
      [1500, 'program.forward(new Float32Array(4))'],
    ] as const) {
      const worker = new Worker(
        code(
          milliseconds,
          `open().then(({ program, attack }) => { ${body}; setTimeout(() => require('node:worker_threads').parentPort.postMessage('on'), 50) })`,
        ),
        { eval: true },
      )
      await new Promise((resolve, reject) => worker.once('message', resolve).once('error', reject))
      const begun = performance.now()
      await worker.terminate()
      expect(performance.now() - begun).toBeLessThan(1000)
    }
    await expect.poll(() => engine.allocatedBytes(), { timeout: 5000 }).toBe(0)
  })
})
