import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { beforeAll, describe, expect, it } from 'vitest'
import { loadNative, type NativeEngine } from '#signstep/native/index.js'
import { cli, demo, scratch } from '../support/cli.js'
import { uncoveredModel } from '../support/uncovered-model.js'

const vit = demo('vit.onnx')

describe('signstep compile', () => {
  it('writes a plan and says how large it is', async () => {
    const folder = scratch()
    const { code, stdout, stderr } = await cli(['compile', vit, '-o', join(folder, 'vit.plan')])
    expect([code, stdout]).toEqual([0, ''])
    expect(stderr).toMatch(/vit\.plan: [\d.]+ MB; \d+ steps forward, \d+ with the gradient/)
    expect(readdirSync(folder)).toEqual(['vit.plan'])
    const plan = readFileSync(join(folder, 'vit.plan'))
    expect(plan.subarray(0, 8).toString()).toBe('SIGNPLAN')
    // Where it comes from, for people.
    expect(plan.includes('vit.onnx sha256:')).toBe(true)
  })

  it('reports as JSON, and takes loss and preprocessing', async () => {
    const folder = scratch()
    const output = join(folder, 'vit.plan')
    const options = ['--loss', 'margin', '--targeted', '--mean', '.5,.5,.5', '--std', '.25,.25,.25']
    const { stdout } = await cli(['compile', vit, '-o', output, ...options, '--json'])
    expect(JSON.parse(stdout)).toMatchObject({ output, bytes: readFileSync(output).length })
  })

  it('refuses a model that no kernel covers, and writes nothing', async () => {
    const folder = scratch()
    const { code, stderr } = await cli(['compile', await uncoveredModel(), '-o', join(folder, 'r.plan')])
    expect([code, readdirSync(folder)]).toEqual([1, []])
    expect(stderr).toContain('OPERATOR_UNSUPPORTED')
  })

  it('says where a plan cannot be written', async () => {
    const { code, stderr } = await cli(['compile', vit, '-o', join(scratch(), 'no/such/folder.plan')])
    expect(code).toBe(1)
    expect(stderr).toContain('OUTPUT_FAILED')
  })
})

describe('a plan that is not what was written', () => {
  let engine: NativeEngine
  let plan: Buffer

  beforeAll(async () => {
    const path = join(scratch(), 'vit.plan')
    await cli(['compile', vit, '-o', path])
    plan = readFileSync(path)
    engine = await loadNative().openEngine('sim')
  })
  const load = async (bytes: Uint8Array): Promise<void> => (await engine.loadProgram(bytes, 0, 1, 0)).dispose()
  const changed = (at: number): Buffer => {
    const copy = Buffer.from(plan)
    copy[at] ^= 1
    return copy
  }

  it('is refused where it was cut off, damaged or of another version', async () => {
    const refused = (bytes: Uint8Array, words: RegExp) =>
      expect(load(bytes)).rejects.toMatchObject({ code: 'INVALID', message: expect.stringMatching(words) })
    await load(plan)
    await refused(plan.subarray(0, plan.length - 1), /truncated/)
    await refused(plan.subarray(0, 50), /truncated/)
    await refused(new Uint8Array(0), /plan|pointer/)
    await refused(changed(0), /SIGNPLAN/)
    await refused(changed(8), /version: expected 2, found 3/)
    for (const at of [70, 5000, plan.length - 5]) await refused(changed(at), /CRC-32/)
    expect(engine.allocatedBytes()).toBe(0)
  })
})
