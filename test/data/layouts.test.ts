import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import sharp from 'sharp'
import { beforeAll, describe, expect, it } from 'vitest'
import { type DatasetOptions, openDataset } from '#signstep/data/index.js'
import { scratch } from '../support/cli.js'
import { writeZip } from './zip-file.js'

let dark: Buffer
let light: Buffer
beforeAll(async () => {
  const grey = (value: number): Promise<Buffer> =>
    sharp({ create: { width: 2, height: 2, channels: 3, background: { r: value, g: value, b: value } } })
      .png()
      .toBuffer()
  dark = await grey(0)
  light = await grey(255)
})

type Files = Record<string, Uint8Array>

function folderOf(files: Files): string {
  const root = scratch()
  for (const [name, data] of Object.entries(files)) {
    mkdirSync(join(root, dirname(name)), { recursive: true })
    writeFileSync(join(root, name), data)
  }
  return root
}

function zipOf(files: Files, options?: Parameters<typeof writeZip>[2]): string {
  const path = join(scratch(), 'images.zip')
  writeZip(path, files, options)
  return path
}

/** Everything about a data set of 2x2 images: classes, labels, files and the first value of each image. */
async function contents(path: string, options: DatasetOptions = {}): Promise<unknown> {
  await using dataset = await openDataset(path, options)
  const values: number[] = []
  for (let i = 0; i < dataset.length; i++) {
    const out = new Float32Array(12)
    await dataset.read(i, out)
    values.push(out[0])
  }
  const files = values.map((_, i) => dataset.file(i))
  return { classes: dataset.classes, labels: [...dataset.labels], files, values }
}

describe('class folders', () => {
  it.each(['folder', 'zip', 'compressed zip'])(
    'are found in a %s, below one folder or more around them',
    async (kind) => {
      const place = (files: Files): string =>
        kind === 'folder' ? folderOf(files) : zipOf(files, { deflate: kind === 'compressed zip' })
      for (const top of ['', 'test/', 'archive/test/']) {
        const files = { [`${top}cat/b.png`]: light, [`${top}ant/x.png`]: light, [`${top}cat/a.PNG`]: dark }
        expect(await contents(place(files))).toEqual({
          classes: ['ant', 'cat'],
          labels: [0, 1, 1],
          files: [`${top}ant/x.png`, `${top}cat/a.PNG`, `${top}cat/b.png`],
          values: [1, 0, 1],
        })
      }
    },
  )

  it('may hold folders of their own, and hidden and other files, which are passed over', async () => {
    const files = {
      'a/more/1.png': dark,
      'a/notes.txt': dark,
      'a/.thumbnail.png': light,
      'b/2.png': light,
      '__MACOSX/b/._2.png': light,
      'README.md': dark,
      'preview.png': light,
    }
    const wanted = { classes: ['a', 'b'], labels: [0, 1], files: ['a/more/1.png', 'b/2.png'], values: [0, 1] }
    expect(await contents(folderOf(files))).toEqual(wanted)
    expect(await contents(zipOf(files))).toEqual(wanted)
  })

  it('are followed through symbolic links, but not in circles', async () => {
    const [root, elsewhere] = [folderOf({ 'a/1.png': dark }), folderOf({ '2.png': light })]
    symlinkSync(elsewhere, join(root, 'b'))
    symlinkSync(root, join(root, 'a', 'back'))
    expect(await contents(root)).toMatchObject({ classes: ['a', 'b'], files: ['a/1.png', 'b/2.png'] })
  })

  it('are asked for where images lie at the top', async () => {
    await expect(openDataset(folderOf({ '1.png': dark, '2.png': dark }))).rejects.toThrow(
      /no class folders; expected class\/name.jpg; found 2 images at the top/,
    )
  })

  it('of one split are asked for where there are several', async () => {
    await expect(openDataset(folderOf({ 'train/a/1.png': dark, 'val/a/1.png': dark }))).rejects.toThrow(
      /several splits: train, val.*Give the folder of one split/,
    )
  })

  it('with images that cannot be read are refused rather than read in part', async () => {
    await expect(openDataset(folderOf({ 'a/1.png': dark, 'a/2.bmp': dark }))).rejects.toThrow(
      /1 images? .*format.*found a\/2.bmp.*Convert/,
    )
  })

  it('with images of several sizes are refused where the size matters, naming the options that help', async () => {
    const wide = await sharp(dark).resize(4, 2).png().toBuffer()
    const root = folderOf({ 'a/1.png': dark, 'a/2.png': wide })
    await expect(contents(root)).rejects.toThrow(/a\/2.png: the images differ in size.*--resize 2 --crop 2/)
    expect(await contents(root, { resize: 2, crop: 2 })).toMatchObject({ labels: [0, 0] })
  })

  it.each([
    ['not an image at all', 'text', /not a JPEG, PNG or WebP image/],
    ['empty', '', /the file is empty/],
  ])('with a file that is %s name it', async (_kind, text, words) => {
    await expect(openDataset(folderOf({ 'a/1.jpg': Buffer.from(text) }))).rejects.toThrow(words)
  })
})

describe('a zip', () => {
  it.each(['../outside/1.png', '/etc/1.png'])('with an entry that leaves it (%s) is refused', async (name) => {
    await expect(openDataset(zipOf({ 'a/1.png': dark, [name]: dark }))).rejects.toMatchObject({ code: 'DATA_INVALID' })
  })

  it('with a wrong checksum is found out', async () => {
    await expect(openDataset(zipOf({ 'a/1.png': dark }, { crc: 1 }))).rejects.toThrow(/a\/1.png.*checksum/)
  })

  it('of no images is refused', async () => {
    await expect(openDataset(zipOf({}))).rejects.toThrow(/no images; .*found nothing/)
  })
})

describe('what was asked for', () => {
  it.each([
    [{ resize: 0 }, /resize: not a size/],
    [{ crop: [4, 1.5] as const }, /crop: not a size/],
    [{ limit: 0 }, /limit: not a number of images/],
  ])('is refused where it makes no sense: %o', async (options, words) => {
    await expect(openDataset(folderOf({ 'a/1.png': dark }), options)).rejects.toThrow(words)
  })

  it('is refused where the model takes no pictures', async () => {
    await expect(openDataset(folderOf({ 'a/1.png': dark }), { imageShape: [4, 2, 2] })).rejects.toThrow(/4 channels/)
  })

  it('is suggested where the path is misspelt', async () => {
    const root = folderOf({ 'photos/a/1.png': dark })
    await expect(openDataset(join(root, 'fotos'))).rejects.toThrow(/Did you mean .*photos/)
  })

  it('may be grey: 0.299 red + 0.587 green + 0.114 blue', async () => {
    const red = await sharp({ create: { width: 2, height: 2, channels: 3, background: { r: 255, g: 0, b: 0 } } })
      .png()
      .toBuffer()
    await using dataset = await openDataset(folderOf({ 'a/1.png': red }), { imageShape: [1, 2, 2] })
    const out = new Float32Array(4)
    await dataset.read(0, out)
    expect([...out]).toEqual(Array(4).fill(Math.fround(76 / 255)))
  })
})
