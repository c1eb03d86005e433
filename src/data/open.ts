import { readdir, stat } from 'node:fs/promises'
import { basename, dirname, join, resolve } from 'node:path'
import { DataError, nearest, OptionError } from '../errors/index.js'
import { openCifarBinary } from './cifar-binary.js'
import { classFolders } from './class-folders.js'
import type { Dataset } from './dataset.js'
import { openFolder } from './folder-archive.js'
import { checkGeometry, type Geometry } from './geometry.js'
import { imageDataset } from './image-dataset.js'
import { openNpzDataset } from './npz-dataset.js'
import { npzArrayNames } from './npz-reader.js'
import { balancedSample, subset } from './sample.js'
import type { ExpectedShape } from './shape.js'
import { isZip, openZip, zipArchive } from './zip.js'

export interface DatasetOptions extends Geometry {
  /** Takes a balanced sample: the first image of every class, then the second of every class, … */
  readonly limit?: number
  /** [C,H,W] that the model takes, null where it takes any; images of another size are refused. */
  readonly imageShape?: ExpectedShape
  /** 1 or 3: how image files are read where imageShape does not say. Default 3. */
  readonly channels?: number
}

/**
 * Opens labelled images: a folder or zip of class folders (JPEG, PNG, WebP), an .npz, or CIFAR-10's binary file. Without a
 * limit the order is that of the data set (by class, then by name in folders).
 *
 * @example
 * const dataset = await openDataset('photos/', { resize: 256, crop: 224, limit: 1000 })
 * for await (const { images, labels } of batches(dataset, { batch: 8 })) …
 * @throws DataError DATA_NOT_FOUND, DATA_INVALID; OptionError
 */
export async function openDataset(path: string, options: DatasetOptions = {}): Promise<Dataset> {
  const { limit, imageShape = [], channels } = options
  checkGeometry(options)
  if (limit !== undefined && !(Number.isInteger(limit) && limit >= 1))
    throw new OptionError('OPTION_INVALID', 'not a number of images', {
      subject: 'limit',
      expected: 'a whole number of at least 1',
      found: String(limit),
    })
  const expected = [imageShape[0] ?? channels, imageShape[1], imageShape[2]]
  const dataset = await openAny(path, options, expected)
  return limit === undefined ? dataset : subset(dataset, balancedSample(dataset.labels, limit))
}

async function openAny(path: string, geometry: Geometry, expected: ExpectedShape): Promise<Dataset> {
  const status = await stat(path).catch(() => undefined)
  if (status === undefined) throw await notFound(path)
  if (status.isDirectory()) {
    const archive = await openFolder(path)
    return imageDataset(classFolders(archive), geometry, expected)
  }
  if (/\.(zip|npz)$/i.test(path) || (await isZip(path))) {
    const zip = await openZip(path)
    try {
      return npzArrayNames(zip).length > 0 || /\.npz$/i.test(path)
        ? await openNpzDataset(zip, geometry, expected)
        : await imageDataset(classFolders(zipArchive(zip)), geometry, expected)
    } catch (error) {
      zip.file.close()
      throw error
    }
  }
  if (!/\.bin$/i.test(path))
    throw new DataError('DATA_INVALID', 'the format of the data is not known', {
      subject: path,
      expected: "a folder or .zip of class folders, an .npz, or CIFAR-10's .bin",
      found: basename(path),
      cure: 'Unpack archives of other kinds into a folder',
    })
  const source = await openCifarBinary(path)
  try {
    return await imageDataset(source, geometry, expected)
  } catch (error) {
    await source.close()
    throw error
  }
}

async function notFound(path: string): Promise<DataError> {
  const folder = dirname(resolve(path))
  const close = nearest(basename(path), await readdir(folder).catch(() => []))
  return new DataError('DATA_NOT_FOUND', 'there is no such file or folder', {
    subject: path,
    ...(close !== undefined && { cure: `Did you mean ${join(dirname(path), close)}?` }),
  })
}
