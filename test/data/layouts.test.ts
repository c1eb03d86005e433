import { mkdirSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { gzipSync } from 'node:zlib'
import sharp from 'sharp'
import { beforeAll, describe, expect, it } from 'vitest'
import { type DatasetOptions, openDataset } from '#signstep/data/index.js'
import { scratch } from '../support/cli.js'
import { writeTar } from './tar-file.js'
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
    await expect(openDataset(folderOf({ 'a/1.png': dark, 'a/2.heic': dark }))).rejects.toThrow(
      /1 images? .*format.*found a\/2.heic.*Convert/,
    )
  })

  it('with images of several sizes are refused where the size matters, naming the options that help', async () => {
    const wide = await sharp(dark).resize(4, 2).png().toBuffer()
    const root = folderOf({ 'a/1.png': dark, 'a/2.png': wide })
    await expect(contents(root)).rejects.toThrow(/a\/2.png: the images differ in size.*--resize 2 --crop 2/)
    expect(await contents(root, { resize: 2, crop: 2 })).toMatchObject({ labels: [0, 0] })
  })

  it.each([
    ['not an image at all', 'text', /not a JPEG, PNG, WebP, GIF, TIFF or BMP image/],
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

const text = (content: string): Buffer => Buffer.from(content)

describe('a table of labels', () => {
  const wanted = { classes: ['ant', 'cat'], labels: [1, 0], files: ['b.png', 'a.png'], values: [1, 0] }

  it.each([
    ['labels.csv', 'filename,label\nb.png,cat\na.png,ant\n'],
    ['labels.csv', '\ufeffid,shot,class\r\n"b.png","at, night",cat\r\n\r\na.png,day,"ant"\r\n'],
    ['labels.tsv', 'b.png\tcat\na.png\tant'],
    ['labels.csv', 'image,target\nb,cat\na,ant\n'],
  ])('stands beside the images of a folder or zip (%s)', async (name, content) => {
    const files = { 'a.png': dark, 'b.png': light, [name]: text(content) }
    expect(await contents(folderOf(files))).toEqual(wanted)
    expect(await contents(zipOf(files))).toEqual(wanted)
  })

  it('may hold class numbers, and its images may lie in a folder below', async () => {
    const files = { 'all/a.png': dark, 'all/b.png': light, 'labels.csv': text('file,label\nb.png,7\nall/a.png,2\n') }
    const numbered = { classes: [], labels: [7, 2], files: ['all/b.png', 'all/a.png'], values: [1, 0] }
    expect(await contents(folderOf(files))).toEqual(numbered)
  })

  it('does not stand in for class folders', async () => {
    const files = { 'ant/a.png': dark, 'cat/b.png': light, 'labels.csv': text('file,label\nant/a.png,cat\n') }
    expect(await contents(folderOf(files))).toMatchObject({ classes: ['ant', 'cat'], labels: [0, 1] })
  })

  it('may be given itself, with paths from its own folder', async () => {
    const root = folderOf({ 'my images/a.png': dark, 'b.png': light })
    writeFileSync(join(root, 'list.txt'), `my images/a.png ant\n${join(root, 'b.png')}   cat\n`)
    expect(await contents(join(root, 'list.txt'))).toEqual({
      classes: ['ant', 'cat'],
      labels: [0, 1],
      files: ['my images/a.png', join(root, 'b.png')],
      values: [0, 1],
    })
  })

  it.each([
    ['', /it has no lines/],
    ['file,label\n', /it names no images/],
    ['file,label\na.png,1\nb.png\n', /line 3: it does not name a file and its label/],
    ['a.png,1,2\n', /expected a header with file and label, or two columns; found a\.png,1,2/],
    ['file,label\nc.png,1\n', /names an image that is not there.*found c\.png/],
  ])('is refused where it is wrong, by its line (%j)', async (content, words) => {
    const folder = folderOf({ 'a.png': dark, 'b.png': light, 'labels.csv': text(content) })
    await expect(openDataset(folder)).rejects.toThrow(words)
  })
})

describe('a tar', () => {
  const tarOf = (files: Files, name = 'shard.tar', long?: 'pax' | 'gnu'): string => {
    const path = join(scratch(), name)
    writeTar(path, files, long)
    return path
  }

  it.each(['pax', 'gnu'] as const)('is read like a folder; long names too (%s)', async (long) => {
    const name = `cat/${'deep/'.repeat(30)}b.png`
    expect(await contents(tarOf({ 'ant/a.png': dark, [name]: light }, 'images.tar', long))).toEqual({
      classes: ['ant', 'cat'],
      labels: [0, 1],
      files: ['ant/a.png', name],
      values: [0, 1],
    })
  })

  it("of WebDataset's has its class numbers beside the images, as text or in JSON", async () => {
    const files = {
      '000.a.png': dark,
      '000.cls': text('3\n'),
      'x/001.png': light,
      'x/001.json': text('{"label": 1, "caption": "a cat"}'),
    }
    const wanted = { classes: [], labels: [3, 1], files: ['000.a.png', 'x/001.png'], values: [0, 1] }
    expect(await contents(tarOf(files))).toEqual(wanted)
  })

  it('may be one of several shards in a folder, which are read in order', async () => {
    const root = scratch()
    writeTar(join(root, 'b.tar'), { '0.png': light, '0.cls': text('1') })
    writeTar(join(root, 'a.tar'), { '0.png': dark, '0.cls': text('0') })
    expect(await contents(root)).toEqual({
      classes: [],
      labels: [0, 1],
      files: ['a.tar/0.png', 'b.tar/0.png'],
      values: [0, 1],
    })
  })

  it('is refused where it is truncated, compressed or damaged, and where a label is missing', async () => {
    const cut = tarOf({ 'ant/a.png': dark, 'cat/b.png': light })
    truncateSync(cut, 512 + dark.length - 3)
    await expect(openDataset(cut)).rejects.toMatchObject({ code: 'DATA_INVALID' })
    const zipped = join(scratch(), 'x.tar')
    writeFileSync(zipped, Buffer.concat([Buffer.from([0x1f, 0x8b]), Buffer.alloc(2000, 1)]))
    await expect(openDataset(zipped)).rejects.toThrow(/found gzip.*gunzip/)
    const damaged = tarOf({ 'ant/a.png': dark })
    writeFileSync(damaged, Buffer.alloc(3000, 65))
    await expect(openDataset(damaged)).rejects.toThrow('no header at byte 0')
    await expect(openDataset(tarOf({ '0.png': dark, '0.cls': text('1'), '1.png': light }))).rejects.toThrow(
      /shard\.tar\/1\.png: .*no class number.*found neither/,
    )
    await expect(openDataset(tarOf({ '0.png': dark, '0.cls': text('cat') }))).rejects.toThrow('found cat')
  })
})

describe("MNIST's IDX", () => {
  const idx = (sizes: readonly number[], data: readonly number[]): Buffer => {
    const head = Buffer.alloc(4 + 4 * sizes.length)
    head.writeUInt32BE(0x0800 + sizes.length)
    for (const [i, size] of sizes.entries()) head.writeUInt32BE(size, 4 + 4 * i)
    return Buffer.concat([head, Buffer.from(data)])
  }
  const images = idx([2, 2, 3], [0, 51, 102, 153, 204, 255, 255, 0, 0, 0, 0, 0])

  it.each(['', '.gz'])('is a file of images beside one of labels (%s)', async (ending) => {
    const pack = (bytes: Buffer) => (ending === '' ? bytes : gzipSync(bytes))
    const root = folderOf({
      [`t10k-images-idx3-ubyte${ending}`]: pack(images),
      [`t10k-labels-idx1-ubyte${ending}`]: pack(idx([2], [7, 4])),
    })
    const path = join(root, `t10k-images-idx3-ubyte${ending}`)
    await using grey = await openDataset(path, { channels: 1 })
    expect([grey.imageShape, [...grey.labels], grey.file(1)]).toEqual([
      [1, 2, 3],
      [7, 4],
      `t10k-images-idx3-ubyte${ending}#1`,
    ])
    const out = new Float32Array(6)
    await grey.read(0, out)
    expect([...out]).toEqual([0, 51, 102, 153, 204, 255].map((v) => Math.fround(v / 255)))
    await using rgb = await openDataset(path)
    expect(rgb.imageShape).toEqual([3, 2, 3])
  })

  it('is refused without its labels, with another number of them, truncated', async () => {
    const name = 'train-images-idx3-ubyte'
    const open = (files: Files) => openDataset(join(folderOf(files), name))
    await expect(open({ [name]: images })).rejects.toMatchObject({ code: 'DATA_NOT_FOUND' })
    const labels = (count: number) => ({ 'train-labels-idx1-ubyte': idx([count], new Array(count).fill(0)) })
    await expect(open({ [name]: images, ...labels(3) })).rejects.toThrow('expected 2 labels; found 3')
    await expect(open({ [name]: images.subarray(0, 20), ...labels(2) })).rejects.toThrow(
      '4 bytes where its sizes need 12',
    )
    await expect(open({ [name]: Buffer.alloc(40), ...labels(2) })).rejects.toThrow('no IDX header')
  })
})

describe('a pair of .npy', () => {
  const npy = (descriptor: string, shape: string, data: Uint8Array): Buffer => {
    const header = `{'descr': '${descriptor}', 'fortran_order': False, 'shape': (${shape}), }`.padEnd(117)
    const head = Buffer.from(`\x93NUMPY\x01\x00\x76\x00${header}\n`, 'latin1')
    return Buffer.concat([head, data])
  }
  const images = npy('|u1', '2, 1, 2, 2', Buffer.from([0, 255, 0, 255, 255, 0, 0, 0]))
  const labels = npy('|u1', '2,', Buffer.from([5, 6]))

  it.each([
    ['test_images.npy', 'test_labels.npy'],
    ['x_test.npy', 'y_test.npy'],
    ['cats.npy', 'labels.npy'],
  ])('is images in %s and labels in %s', async (name, other) => {
    await using dataset = await openDataset(join(folderOf({ [name]: images, [other]: labels }), name), { channels: 1 })
    const out = new Float32Array(4)
    await dataset.read(1, out)
    expect([dataset.imageShape, [...dataset.labels], [...out]]).toEqual([
      [1, 2, 2],
      [5, 6],
      [1, 0, 0, 0],
    ])
  })

  it('is refused without labels, and where one is damaged', async () => {
    const open = (files: Files) => openDataset(join(folderOf(files), 'images.npy'))
    await expect(open({ 'images.npy': images })).rejects.toThrow(/no labels beside the images.*expected labels\.npy/)
    await expect(open({ 'images.npy': images.subarray(0, 130), 'labels.npy': labels })).rejects.toThrow('numpy.save')
  })
})

describe('a label map', () => {
  const folder = () => folderOf({ 'n02/a.png': dark, 'n09/b.png': light })
  const mapped = (map: unknown, name = 'map.json') => {
    const path = join(scratch(), name)
    writeFileSync(path, typeof map === 'string' ? map : JSON.stringify(map))
    return contents(folder(), { labelMap: path })
  }

  it.each([
    ['names to numbers', { n02: 3, n09: 1, n11: 0 }],
    ['a list of names', ['n01', 'n09', 'n11', 'n02']],
    ['numbers to names, as Keras has them', { 1: ['n09', 'ant'], 3: ['n02', 'cat'], 0: ['n11', 'dog'] }],
    ['a table', 'name,label\nn09,1\nn02,3\n'],
  ])('gives the class numbers of the model: %s', async (_, map) => {
    expect(await mapped(map)).toEqual({
      classes: ['class 0', 'n09', 'class 2', 'n02'],
      labels: [3, 1],
      files: ['n02/a.png', 'n09/b.png'],
      values: [0, 1],
    })
  })

  it('is refused where it lacks a class, says it twice or is none', async () => {
    await expect(mapped({ n02: 0, n10: 1 })).rejects.toThrow(/map\.json: .*lacks a class.*found n09/)
    await expect(mapped('n02,1\nn02,2\nn09,3')).rejects.toThrow('found n02: 1 and 2')
    await expect(mapped('{"n02": 1')).rejects.toThrow('it is no label map')
    await expect(mapped({ n02: 0, n09: -1 })).rejects.toThrow('found n09: -1')
    await expect(mapped('n02,cat\nn09,dog')).rejects.toThrow('it is no label map')
    await expect(contents(folder(), { labelMap: 'none.json' })).rejects.toMatchObject({ code: 'DATA_NOT_FOUND' })
  })

  it('is refused for data without class names', async () => {
    const root = folderOf({ 'a.png': dark, 'labels.csv': text('file,label\na.png,3\n') })
    writeFileSync(join(root, 'map.json'), '["x"]')
    await expect(openDataset(root, { labelMap: join(root, 'map.json') })).rejects.toThrow('no names to look up')
  })
})
