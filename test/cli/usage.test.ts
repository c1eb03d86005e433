import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { cli, demo, demoPreprocess, root, scratch } from '../support/cli.js'

const vit = demo('vit.onnx')
const data = ['--data', demo('images.zip')]

async function refused(args: readonly string[], code: number, ...words: (string | RegExp)[]): Promise<void> {
  const { code: found, stdout, stderr } = await cli(args)
  expect(stderr).not.toMatch(/^\s+at /m) // no stack trace
  for (const word of words) expect(stderr).toMatch(word)
  expect(stdout).toBe('')
  expect(found).toBe(code)
}

describe('a mistake on the command line ends with exit code 2 and says how to mend it', () => {
  it('suggests the nearest option', () =>
    refused(['attack', vit, ...data, '--attack', 'pgd', '--eps', '4/255', '--step', '3'], 2, '--step', '--steps'))
  it('suggests the nearest command', () => refused(['evalute', vit], 2, 'evaluate'))
  it('suggests the nearest attack', () =>
    refused(['evaluate', vit, ...data, '--attacks', 'pdg-20', '--eps', '4/255'], 2, 'pdg-20', 'pgd'))
  it('suggests the nearest preprocessing', () =>
    refused(['evaluate', vit, ...data, '--preprocess', 'imagnet', '--eps', '4/255'], 2, 'imagenet'))
  it('takes 8 for what it is: 8/255 was meant', () => refused(['evaluate', vit, ...data, '--eps', '8'], 2, '8/255'))
  it('refuses a radius of 0', () => refused(['evaluate', vit, ...data, '--eps', '0'], 2, 'eps'))
  it('refuses a radius that is no number', () => refused(['evaluate', vit, ...data, '--eps', 'big'], 2, 'big'))
  it('asks for the data', () => refused(['evaluate', vit, '--eps', '4/255'], 2, '--data'))
  it('asks attack for a folder', () =>
    refused(['attack', vit, ...data, '--attack', 'fgsm', '--eps', '4/255'], 2, '--out'))
  it('refuses a device that is none', () =>
    refused(['evaluate', vit, ...data, '--eps', '4/255', '--device', 'gpu'], 2, '--device', 'cuda', 'gpu'))
  it('refuses half precision on the processor', () =>
    refused(
      ['evaluate', vit, ...data, '--eps', '4/255', '--device', 'cpu', '--precision', 'fp16'],
      2,
      'precision',
      'float32',
    ))
  it('refuses a batch of 0', () => refused(['evaluate', vit, ...data, '--eps', '4/255', '--batch', '0'], 2, '--batch'))
  it('refuses means that are not one per channel', () =>
    refused(['evaluate', vit, ...data, '--eps', '4/255', '--mean', '.5,.5', '--std', '.2,.2'], 2, /mean/))
})

describe('a file at fault ends with exit code 1 and is named', () => {
  it('missing model', () => refused(['inspect', 'nowhere.onnx'], 1, 'nowhere.onnx', 'MODEL_NOT_FOUND'))
  it('missing data', () =>
    refused(['evaluate', vit, '--data', 'nowhere.zip', '--eps', '4/255'], 1, 'nowhere.zip', 'DATA_NOT_FOUND'))
  it('a device that is not there', () =>
    refused(['evaluate', vit, ...data, '--eps', '4/255', '--device', 'cuda:99'], 1, 'cuda:99', 'DEVICE_UNAVAILABLE'))
  it('a model that is something else', () =>
    refused(['inspect', join(root, 'package.json')], 1, 'package.json', 'MODEL_INVALID'))
  it('a truncated model', async () => {
    const path = join(scratch(), 'half.onnx')
    writeFileSync(path, readFileSync(vit).subarray(0, 100_000))
    await refused(['inspect', path], 1, 'half.onnx', 'MODEL_INVALID')
  })
  it('a folder with foreign files is not touched', async () => {
    const out = scratch()
    writeFileSync(join(out, 'thesis.txt'), 'precious')
    await refused(
      ['evaluate', vit, ...data, ...demoPreprocess, '--eps', '4/255', '--limit', '10', '--out', out, '--quiet'],
      1,
      'thesis.txt',
      'OUTPUT_FAILED',
    )
    expect(readFileSync(join(out, 'thesis.txt'), 'utf8')).toBe('precious')
  })
})

describe('signstep info', () => {
  it('names versions, the addon and the devices', async () => {
    const { code, stdout } = await cli(['info'])
    expect(code).toBe(0)
    for (const word of ['signstep', 'node', 'addon', 'onnxruntime', 'device cpu', 'device cuda', 'device sim'])
      expect(stdout).toContain(word)
  })
  it('prints JSON alone with --json', async () => {
    const { stdout, stderr } = await cli(['info', '--json'])
    expect(JSON.parse(stdout).addon.file).toMatch(/signstep\.node$/)
    expect(stderr).toBe('')
  })
})

describe('help', () => {
  it('lists the commands and shows examples of each', async () => {
    const { code, stdout } = await cli(['--help'])
    expect(code).toBe(0)
    for (const command of ['attack', 'evaluate', 'gradient', 'compile', 'inspect', 'info']) {
      expect(stdout).toContain(command)
      expect((await cli([command, '--help'])).stdout).toContain(`Examples:\n  signstep ${command}`)
    }
  })
})
