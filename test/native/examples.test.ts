import { execFile } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { loadNative } from '#signstep/native/index.js'

const run = promisify(execFile)
const require = createRequire(import.meta.url)
const examples = fileURLToPath(new URL('../../examples', import.meta.url))
let build: string

beforeAll(() => {
  build = mkdtempSync(join(tmpdir(), 'signstep-example-'))
})
afterAll(() => rmSync(build, { recursive: true }))

async function make(example: string, ...options: string[]): Promise<string> {
  const folder = join(build, example)
  await run('cmake', ['-S', join(examples, example), '-B', folder, '-DCMAKE_BUILD_TYPE=Release', ...options])
  await run('cmake', ['--build', folder])
  return folder
}

test('the C example finds the library through the CMake package and stays in the ball', async () => {
  const folder = await make('c')
  const { stdout } = await run(join(folder, 'random-start'))
  expect(stdout).toContain(`signstep ${loadNative().version()}, ${loadNative().instructionSet()}`)
  expect(Number(/moved by ([\d.]+)\/255/.exec(stdout)?.[1])).toBeLessThanOrEqual(8)
})

test('the example addon calls the kernels through the function table, and takes no other object for it', async () => {
  const headers = (require('node-api-headers') as { include_dir: string }).include_dir
  const folder = await make('addon', `-DCMAKE_JS_INC=${headers}`)
  const { distance } = require(join(folder, 'distance.node')) as {
    distance(capi: object, a: Float32Array, b: Float32Array): number
  }
  const { capi } = loadNative()
  expect(distance(capi, Float32Array.of(0.5, 0.25, 1), Float32Array.of(0.5, 0.5, 1))).toBe(0.25)
  expect(() => distance({}, new Float32Array(1), new Float32Array(1))).toThrow(/function table/)
  expect(() => distance(capi, new Float32Array(1), new Float32Array(2))).toThrow(/equal lengths/)
})
