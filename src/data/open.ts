import { readdir, stat } from 'node:fs/promises'
import { basename, dirname, join, resolve } from 'node:path'
import { DataError, nearest, OptionError, refuseUnknownOptions } from '../errors/index.js'
import type { Archive } from './archive.js'
import { openCifarBinary } from './cifar-binary.js'
import { classFolders } from './class-folders.js'
import type { Dataset } from './dataset.js'
import { openFolder } from './folder-archive.js'
import { checkGeometry, type Geometry } from './geometry.js'
import { isIdxImages, openIdx } from './idx.js'
import { type ImageSource, imageDataset } from './image-dataset.js'
import { isImageName } from './image-formats.js'
import { readLabelMap, withLabelMap } from './label-map.js'
import { listedArchive, openListed } from './listed-images.js'
import { openNpyPair, openNpzDataset } from './npz-dataset.js'
import { npzArrayNames } from './npz-reader.js'
import { balancedSample, subset } from './sample.js'
import type { ExpectedShape } from './shape.js'
import { openTar } from './tar.js'
import { webDataset } from './web-dataset.js'
import { isZip, openZip, zipArchive } from './zip.js'

export interface DatasetOptions extends Geometry {
  /** Takes a balanced sample: the first image of every class, then the second of every class, … */
  readonly limit?: number
  /** [C,H,W] that the model takes, null where it takes any; images of another size are refused. */
  readonly imageShape?: ExpectedShape
  /** A file that gives the class numbers of the model by name (readLabelMap), where the data hold some of its classes only. */
  readonly labelMap?: string
  /** 1 or 3: how image files are read where imageShape does not say. Default 3. */
  readonly channels?: number
}

const OPTIONS = ['resize', 'crop', 'interpolation', 'limit', 'labelMap', 'imageShape', 'channels']

/**
 * Opens labelled images (JPEG, PNG, WebP, GIF, TIFF, BMP): a folder, zip or tar of class folders, or of images beside a table of their labels; a table of paths
 * and labels; WebDataset's tar shards; an .npz, or .npy of images beside one of labels; CIFAR-10's binary file; MNIST's IDX. Without a
 * limit the order is that of the data set (by class, then by name in folders).
 *
 * @example
 * const dataset = await openDataset('photos/', { resize: 256, crop: 224, limit: 1000 })
 * for await (const { images, labels } of batches(dataset, { batch: 8 })) …
 * @throws DataError DATA_NOT_FOUND, DATA_INVALID; OptionError
 */
export async function openDataset(path: string, options: DatasetOptions = {}): Promise<Dataset> {
  refuseUnknownOptions(options, OPTIONS, 'openDataset')
  const { limit, imageShape = [], channels } = options
  checkGeometry(options)
  if (limit !== undefined && !(Number.isInteger(limit) && limit >= 1))
    throw new OptionError('OPTION_INVALID', 'not a number of images', {
      subject: 'limit',
      expected: 'a whole number of at least 1',
      found: String(limit),
    })
  const expected = [imageShape[0] ?? channels, imageShape[1], imageShape[2]]
  const map = options.labelMap === undefined ? undefined : await readLabelMap(options.labelMap)
  let dataset = await openAny(path, options, expected)
  if (map !== undefined) {
    try {
      dataset = withLabelMap(dataset, map, options.labelMap as string)
    } catch (error) {
      await dataset.close()
      throw error
    }
  }
  return limit === undefined ? dataset : subset(dataset, balancedSample(dataset.labels, limit))
}

async function openAny(path: string, geometry: Geometry, expected: ExpectedShape): Promise<Dataset> {
  const status = await stat(path).catch(() => undefined)
  if (status === undefined) throw await notFound(path)
  if (status.isDirectory()) return imageDataset(await openImages(await openFolder(path)), geometry, expected)
  if (/\.(zip|npz)$/i.test(path) || (await isZip(path))) {
    const zip = await openZip(path)
    try {
      return npzArrayNames(zip).length > 0 || /\.npz$/i.test(path)
        ? await openNpzDataset(zip, geometry, expected)
        : await imageDataset(await labelledImages(zipArchive(zip)), geometry, expected)
    } catch (error) {
      zip.file.close()
      throw error
    }
  }
  if (/\.npy$/i.test(path)) return openNpyPair(path, geometry, expected)
  const source = await openFile(path)
  try {
    return await imageDataset(source, geometry, expected)
  } catch (error) {
    await source.close()
    throw error
  }
}

/** A folder of images, or of tar shards. */
async function openImages(folder: Archive): Promise<ImageSource> {
  const shards = folder.files.filter((file) => /\.tar$/i.test(file)).sort()
  const alone = shards.length > 0 && !folder.files.some(isImageName)
  return alone
    ? openShards(
        shards.map((file) => join(folder.name, file)),
        folder.name,
      )
    : labelledImages(folder)
}

async function openShards(paths: readonly string[], name: string): Promise<ImageSource> {
  const archive = await openTar(paths, name)
  try {
    return (await webDataset(archive)) ?? (await labelledImages(archive))
  } catch (error) {
    await archive.close()
    throw error
  }
}

const labelledImages = async (archive: Archive): Promise<ImageSource> =>
  (await listedArchive(archive)) ?? classFolders(archive)

async function openFile(path: string): Promise<ImageSource> {
  if (/\.tar$/i.test(path)) return openShards([path], path)
  if (/\.bin$/i.test(path)) return openCifarBinary(path)
  if (isIdxImages(path)) return openIdx(path)
  if (/\.(csv|tsv|txt|lst)$/i.test(path)) return openListed(path)
  throw new DataError('DATA_INVALID', 'the format of the data is not known', {
    subject: path,
    expected:
      "a folder, .zip or .tar of class folders or with a .csv of labels, WebDataset's .tar, an .npz, a pair of .npy, a .csv or .txt of paths and labels, CIFAR-10's .bin, or MNIST's images-idx3-ubyte",
    found: basename(path),
    cure: 'Unpack archives of other kinds into a folder',
  })
}

async function notFound(path: string): Promise<DataError> {
  const folder = dirname(resolve(path))
  const close = nearest(basename(path), await readdir(folder).catch(() => []))
  return new DataError('DATA_NOT_FOUND', 'there is no such file or folder', {
    subject: path,
    ...(close !== undefined && { cure: `Did you mean ${join(dirname(path), close)}?` }),
  })
}
