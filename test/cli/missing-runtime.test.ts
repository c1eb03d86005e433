import { spawnSync } from 'node:child_process'
import { cpSync, mkdirSync, symlinkSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { demo, root, scratch } from '../support/cli.js'

/** The package as it is installed where some of what it can use is not. */
function installedWithout(...missing: string[]): string {
  const folder = scratch()
  cpSync(join(root, 'dist'), join(folder, 'dist'), { recursive: true })
  cpSync(join(root, 'package.json'), join(folder, 'package.json'))
  if (!missing.includes('addon')) symlinkSync(join(root, 'build'), join(folder, 'build'))
  mkdirSync(join(folder, 'node_modules'))
  for (const name of [
    '@bufbuild',
    'commander',
    'yauzl',
    'buffer-crc32',
    'pend',
    'node-gyp-build',
    'onnxruntime-node',
    'onnxruntime-common',
    'sharp',
  ])
    if (!missing.includes(name)) symlinkSync(join(root, 'node_modules', name), join(folder, 'node_modules', name))
  return join(folder, 'dist/cli/main.js')
}

const evaluate = ['evaluate', demo('resnet.onnx'), '--data', demo('images.zip'), '--eps', '4/255', '--limit', '10']

describe('what is not installed is named with the cure', () => {
  it.each([
    ['onnxruntime-node', evaluate, /npm install onnxruntime-node/],
    ['sharp', evaluate, /npm install sharp/],
    ['addon', evaluate, /build:native/],
  ])('%s', (missing, args, cure) => {
    const { status, stdout, stderr } = spawnSync(process.execPath, [installedWithout(missing), ...args], {
      encoding: 'utf8',
    })
    expect(stderr).toMatch(cure)
    expect(stderr).toContain('RUNTIME_MISSING')
    expect(stderr).not.toMatch(/^\s+at /m)
    expect(stdout).toBe('')
    expect(status).toBe(1)
  })

  it('and signstep info says so without failing', () => {
    const { status, stdout } = spawnSync(process.execPath, [installedWithout('onnxruntime-node', 'addon'), 'info'], {
      encoding: 'utf8',
    })
    expect(status).toBe(0)
    expect(stdout).toContain('not usable: not installed: npm install onnxruntime-node')
    expect(stdout).toMatch(/addon +.*cannot be loaded/)
  })
})
