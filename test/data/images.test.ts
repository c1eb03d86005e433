import { createHash } from 'node:crypto'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { type DatasetOptions, openDataset } from '#signstep/data/index.js'
import { scratch } from '../support/cli.js'

interface Pixels {
  readonly size: readonly [number, number]
  readonly sha1: string
}
// Made with Pillow and torchvision by scripts/golden/images.py.
const { files, geometry } = JSON.parse(readFileSync(new URL('./fixtures/images.json', import.meta.url), 'utf8')) as {
  files: Record<string, { bytes: string; decoded: Pixels }>
  geometry: Record<string, { options: DatasetOptions; result: Pixels }>
}

/** Reads the only image of a data set of one: its size and the digest of its 8-bit RGB pixels. */
async function pixelsOf(name: string, options: DatasetOptions = {}): Promise<Pixels> {
  const folder = scratch()
  mkdirSync(join(folder, 'class'))
  writeFileSync(join(folder, 'class', name), Buffer.from(files[name].bytes, 'base64'))
  await using dataset = await openDataset(folder, { channels: 3, ...options })
  const [channels, height, width] = dataset.imageShape
  const out = new Float32Array(channels * height * width)
  await dataset.read(0, out)
  const plane = height * width
  const rgb = Uint8Array.from({ length: 3 * plane }, (_, i) =>
    Math.round(255 * out[(i % 3) * plane + Math.floor(i / 3)]),
  )
  return { size: [height, width], sha1: createHash('sha1').update(rgb).digest('hex') }
}

describe('decoding gives the pixels of Pillow', () => {
  it.each(Object.keys(files))('%s', async (name) => {
    expect(await pixelsOf(name)).toEqual(files[name].decoded)
  })
})

describe('resizing and cropping give the pixels of torchvision', () => {
  it.each(Object.keys(geometry))('%s', async (name) => {
    const { options, result } = geometry[name]
    expect(await pixelsOf('rgb.png', options)).toEqual(result)
  })
})
