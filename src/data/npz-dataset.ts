import { stat } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { DataError, OptionError } from '../errors/index.js'
import { isInteger, numbersOf } from '../tensor/index.js'
import type { Dataset } from './dataset.js'
import type { Geometry } from './geometry.js'
import { imageDataset } from './image-dataset.js'
import { type NpzArray, npzArrayNames, openNpyFile, openNpzArray } from './npz-reader.js'
import { bytesToUnit, planesToPixels } from './pixels.js'
import { checkImageShape, type ExpectedShape } from './shape.js'
import { checkUnit } from './unit-range.js'
import type { Zip } from './zip.js'

/**
 * An .npz with `images` [N,C,H,W] (float in [0,1], or uint8) and integer `labels` [N].
 * @throws DataError DATA_INVALID if an array is missing or of the wrong type or shape, or an image leaves [0,1]
 */
export async function openNpzDataset(zip: Zip, geometry: Geometry, expected: ExpectedShape): Promise<Dataset> {
  const opened: NpzArray[] = []
  try {
    const names = npzArrayNames(zip)
    for (const name of ['images', 'labels']) {
      if (!names.includes(name))
        throw new DataError('DATA_INVALID', `there is no array '${name}'`, {
          subject: zip.path,
          expected: '`images` [N,C,H,W] and `labels` [N]',
          found: names.join(', ') || 'no arrays',
          cure: 'Write it with numpy.savez(path, images=..., labels=...)',
        })
      opened.push(await openNpzArray(zip, name))
    }
    const [images, labels] = opened
    return await arrayDataset(zip.path, images, labels, () => zip.file.close(), geometry, expected)
  } catch (error) {
    await Promise.all(opened.map((array) => array.close()))
    throw error
  }
}

/**
 * The same in two .npy files: images in the one that is named, labels beside it under the name with `labels` for `images` (or `y` for `x`), or in
 * labels.npy.
 * @throws DataError DATA_NOT_FOUND, DATA_INVALID
 */
export async function openNpyPair(path: string, geometry: Geometry, expected: ExpectedShape): Promise<Dataset> {
  const name = basename(path)
  const names = [name.replace(/images?/i, 'labels'), name.replace(/(^|[_-])x(?=[._-])/i, '$1y'), 'labels.npy']
  const beside = names.filter((other) => other !== name).map((other) => join(dirname(path), other))
  const opened: NpzArray[] = []
  try {
    const found: string[] = []
    for (const other of beside) if (await stat(other).catch(() => undefined)) found.push(other)
    if (found.length === 0)
      throw new DataError('DATA_NOT_FOUND', 'there are no labels beside the images', {
        subject: path,
        expected: [...new Set(beside.map((other) => basename(other)))].join(' or '),
        cure: 'Save the class numbers with numpy.save',
      })
    opened.push(await openNpyFile(path), await openNpyFile(found[0]))
    return await arrayDataset(path, opened[0], opened[1], () => {}, geometry, expected)
  } catch (error) {
    await Promise.all(opened.map((array) => array.close()))
    throw error
  }
}

async function arrayDataset(
  path: string,
  images: NpzArray,
  labels: NpzArray,
  release: () => void,
  geometry: Geometry,
  expected: ExpectedShape,
): Promise<Dataset> {
  const imageShape = checkShapes(path, images, labels)
  const close = async () => {
    await Promise.all([images.close(), labels.close()])
    release()
  }
  const file = (index: number) => `${basename(path)}#${index}`
  const common = { name: path, classes: [], labels: await readLabels(path, labels), file, close }
  const [channels, height, width] = imageShape
  if (images.dtype === 'uint8' && (channels === 1 || channels === 3)) {
    const load = async (index: number) =>
      planesToPixels((await images.readRows(index, 1)).data as Uint8Array, channels, height, width)
    return await imageDataset({ ...common, load }, geometry, [expected[0] ?? channels, expected[1], expected[2]])
  }
  if (geometry.resize !== undefined || geometry.crop !== undefined)
    throw new OptionError('OPTION_INVALID', 'only 8-bit images can be resized and cropped', {
      subject: path,
      found: `images of ${images.dtype}`,
      cure: 'Resize them before they are written, and leave --resize and --crop out',
    })
  checkImageShape(path, imageShape, expected)
  const dataset: Dataset = {
    ...common,
    length: images.shape[0],
    imageShape,
    read: readFloats(path, images),
    [Symbol.asyncDispose]: close,
  }
  // A wrong scale concerns all images; it is better said before the work begins.
  await dataset.read(0, new Float32Array(channels * height * width))
  return dataset
}

function checkShapes(path: string, images: NpzArray, labels: NpzArray): readonly [number, number, number] {
  const [count, ...rest] = images.shape
  if (images.shape.length !== 4 || elementsMissing(images))
    throw wrong(path, 'images', '[N,C,H,W]', images, 'Give a batch of images of one size')
  if ((rest[2] === 3 || rest[2] === 1) && rest[0] !== 3 && rest[0] !== 1)
    throw wrong(path, 'images', '[N,C,H,W]', images, 'Move the channels with images.transpose(0, 3, 1, 2)')
  if (images.dtype !== 'uint8' && !images.dtype.startsWith('float'))
    throw wrong(path, 'images', 'float32 in [0,1] or uint8', images, 'Divide by the largest value as float32')
  if (!isInteger(labels.dtype)) throw wrong(path, 'labels', 'integers', labels, 'Convert with labels.astype("int64")')
  if (labels.shape.length !== 1 || labels.shape[0] !== count)
    throw wrong(path, 'labels', `[${count}], one label per image`, labels, 'Give class numbers, not one-hot rows')
  return [rest[0], rest[1], rest[2]]
}

const elementsMissing = (array: NpzArray): boolean => array.shape.includes(0)

function wrong(path: string, name: string, expected: string, array: NpzArray, cure: string): DataError {
  return new DataError('DATA_INVALID', `the array '${name}' is not as expected`, {
    subject: path,
    expected,
    found: `${array.dtype} [${array.shape.join(',')}]`,
    cure,
  })
}

async function readLabels(path: string, labels: NpzArray): Promise<Int32Array> {
  const numbers = numbersOf(await labels.readRows(0, labels.shape[0]))
  const misfit = numbers.findIndex((label) => label < 0 || label > 0x7fffffff)
  if (misfit >= 0)
    throw new DataError('DATA_CLASSES', 'a label is no class number', {
      subject: `${path}#${misfit}`,
      expected: '0, 1, 2, …',
      found: String(numbers[misfit]),
    })
  return Int32Array.from(numbers)
}

function readFloats(path: string, images: NpzArray): Dataset['read'] {
  return async (index, out) => {
    const row = await images.readRows(index, 1)
    if (row.dtype === 'uint8') bytesToUnit(row.data as Uint8Array, out)
    else out.set(row.dtype === 'float32' ? (row.data as Float32Array) : numbersOf(row))
    checkUnit(out, `${path}#${index}`)
  }
}
