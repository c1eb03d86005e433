import { execFile } from 'node:child_process'
import { copyFileSync, mkdirSync, mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { promisify } from 'node:util'
import { Worker } from 'node:worker_threads'
import { describe, expect, test } from 'vitest'
import { type Binding, loadNative, nativePath } from '#signstep/native/index.js'

const native = loadNative()
const run = promisify(execFile)

/** Source text that defines `start(count)`: many large steps under way on the job thread, some seconds of work. */
const busy = `
  const native = require(${JSON.stringify(nativePath())})
  const size = 1 << 22
  const x = new Float32Array(size), x0 = new Float32Array(size), g = new Float32Array(size).fill(1)
  const one = Float32Array.of(0.1)
  const start = (count = 1000) => Array.from({ length: count }, () => native.stepLinfAsync(x, x0, g, one, one, 1))
`

describe('a step on the job thread', () => {
  const size = 1 << 20
  const arrays = (): [Float32Array, Float32Array, Float32Array] => [
    new Float32Array(size).fill(0.5),
    new Float32Array(size).fill(0.5),
    new Float32Array(size).fill(-1),
  ]
  const alpha = Float32Array.of(0.125)
  const eps = Float32Array.of(0.25)

  test('gives what the call gives', async () => {
    const [x, x0, g] = arrays()
    await native.stepLinfAsync(x, x0, g, alpha, eps, 1).promise
    expect(x.every((v) => v === 0.375)).toBe(true)
  })

  test('refuses wrong arguments at once', () => {
    const [x, x0, g] = arrays()
    expect(() => native.stepLinfAsync(x, x0, g.subarray(1), alpha, eps, 1)).toThrow(TypeError)
    expect(() => native.stepLinfAsync(x, x0, g, Float32Array.of(-1), eps, 1)).toThrow(TypeError)
  })

  test('leaves the event loop free', async () => {
    const [x, x0, g] = arrays()
    const jobs = Array.from({ length: 100 }, () => native.stepLinfAsync(x, x0, g, alpha, eps, 1).promise)
    let [turns, ended] = [0, false]
    const done = Promise.all(jobs).then(() => {
      ended = true
    })
    while (!ended) {
      turns++
      await new Promise(setImmediate)
    }
    await done
    expect(turns).toBeGreaterThan(100)
  })

  test('is cancelled before or while it runs, and not after', async () => {
    // Half a second of work before those that are cancelled: they cannot have begun, even on a busy machine.
    const [x, x0, g] = arrays()
    const jobs = Array.from({ length: 1000 }, () => native.stepLinfAsync(x, x0, g, alpha, eps, 1))
    for (const job of jobs.slice(990)) job.cancel()
    const ends = await Promise.allSettled(jobs.map((job) => job.promise))
    expect(ends.slice(0, 990).every((end) => end.status === 'fulfilled')).toBe(true)
    for (const end of ends.slice(990)) expect(end).toMatchObject({ status: 'rejected', reason: { code: 'ABORTED' } })
    jobs[0].cancel()
  })

  test('keeps its arrays alive', async () => {
    const jobs = Array.from({ length: 20 }, () => native.stepLinfAsync(...arrays(), alpha, eps, 1).promise)
    globalThis.gc?.()
    await Promise.all(jobs)
  })
})

describe('the process ends', () => {
  const node = async (code: string): Promise<{ stdout: string; seconds: number }> => {
    const begun = performance.now()
    const { stdout } = await run(process.execPath, ['-e', busy + code], { timeout: 20_000 })
    return { stdout, seconds: (performance.now() - begun) / 1000 }
  }

  test('at once when process.exit comes in the middle of a job', async () => {
    const { seconds } = await node('start(); setTimeout(() => process.exit(0), 20)')
    expect(seconds).toBeLessThan(2)
  })

  test('by itself, after the jobs that are still under way', async () => {
    const { stdout } = await node('start(3).at(-1).promise.then(() => console.log("settled")); 0')
    expect(stdout).toBe('settled\n')
  })

  test('by an uncaught error in the middle of a job', async () => {
    await expect(node('start(); setTimeout(() => { throw new Error("on purpose") }, 20)')).rejects.toMatchObject({
      code: 1,
    })
  })

  test('by Ctrl-C in the middle of a job', async () => {
    const child = execFile(process.execPath, [
      '-e',
      `${busy} start(); console.log("started"); setInterval(() => {}, 1000)`,
    ])
    await new Promise((resolve) => child.stdout?.once('data', resolve))
    const ended = new Promise((resolve) => child.once('exit', (_, signal) => resolve(signal)))
    child.kill('SIGINT')
    expect(await ended).toBe('SIGINT')
  })
})

describe('in workers', () => {
  test('the addon loads and steps, many times over', async () => {
    for (let turn = 0; turn < 5; turn++) {
      const worker = new Worker(
        `${busy}
         Promise.all(start(2).map((job) => job.promise)).then(() => {
           require('node:worker_threads').parentPort.postMessage(x[size - 1])
           process.exit()
         })`,
        { eval: true },
      )
      const value = await new Promise((resolve, reject) => worker.once('message', resolve).once('error', reject))
      expect(value).toBeCloseTo(0.1)
      await worker.terminate()
    }
  })

  test('terminate() in the middle of a job is prompt and harms no one', async () => {
    for (let turn = 0; turn < 3; turn++) {
      const worker = new Worker(`${busy} start(); require('node:worker_threads').parentPort.postMessage('started')`, {
        eval: true,
      })
      await new Promise((resolve, reject) => worker.once('message', resolve).once('error', reject))
      const begun = performance.now()
      await worker.terminate()
      expect(performance.now() - begun).toBeLessThan(1000)
    }
    const x = Float32Array.of(0.5)
    await native.stepLinfAsync(x, x.slice(), x.slice(), Float32Array.of(0.25), Float32Array.of(1), 1).promise
    expect(x[0]).toBe(0.75)
  })
})

test('two copies of the addon live side by side', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'signstep-'))
  try {
    const from = dirname(nativePath())
    const to = join(folder, 'copy')
    mkdirSync(to)
    for (const file of readdirSync(from)) copyFileSync(join(from, file), join(to, file))
    const require = createRequire(import.meta.url)
    const other = require(join(to, 'signstep.node')) as Binding
    expect(other).not.toBe(native)
    const step = async (binding: Binding): Promise<number> => {
      const x = Float32Array.of(0.5)
      await binding.stepLinfAsync(x, x.slice(), x.slice(), Float32Array.of(0.25), Float32Array.of(1), -1).promise
      return x[0]
    }
    expect(await Promise.all([step(native), step(other)])).toEqual([0.25, 0.25])
  } finally {
    rmSync(folder, { recursive: true })
  }
})
