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

describe('a bitmap', () => {
  const whole = Buffer.from(files['palette.bmp'].bytes, 'base64')
  const edited = (edit: (bytes: Buffer) => unknown): string => {
    const folder = scratch()
    mkdirSync(join(folder, 'class'))
    const bytes = Buffer.from(whole)
    const made = edit(bytes)
    writeFileSync(join(folder, 'class', 'x.bmp'), Buffer.isBuffer(made) ? made : bytes)
    return folder
  }

  it.each<[string, (bytes: Buffer) => unknown, RegExp]>([
    ['whose header is cut', (bytes) => bytes.subarray(0, 20), /the header is truncated/],
    ['whose pixels are cut', (bytes) => bytes.subarray(0, -9), /the pixels are truncated/],
    ['that is compressed', (bytes) => bytes.writeUInt32LE(1, 30), /compression 1, which is not read/],
    ['of a size that cannot be', (bytes) => bytes.writeInt32LE(-5, 18), /a size of -5x37/],
    ['of 7 bits a pixel', (bytes) => bytes.writeUInt16LE(7, 28), /7 bits a pixel/],
    ['of more colours than it has', (bytes) => bytes.writeUInt32LE(60, 10), /a pixel outside of the palette/],
  ])('%s is named', async (_, edit, words) => {
    const folder = edited(edit)
    await expect(openDataset(folder)).rejects.toThrow(words)
    await expect(openDataset(folder)).rejects.toMatchObject({ code: 'DATA_UNDECODABLE' })
  })

  it('with its lines from the top down is the same picture upside down', async () => {
    const heightOf = 37
    await using up = await openDataset(edited(() => {}))
    await using down = await openDataset(edited((bytes) => bytes.writeInt32LE(-heightOf, 22)))
    const [a, b] = [new Float32Array(3 * heightOf * 53), new Float32Array(3 * heightOf * 53)]
    await up.read(0, a)
    await down.read(0, b)
    expect(b.slice(0, 53)).toEqual(a.slice(53 * (heightOf - 1), 53 * heightOf))
  })
})
