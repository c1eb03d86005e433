import { readFile } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { promisify } from 'node:util'
import { gunzip } from 'node:zlib'
import { DataError } from '../errors/index.js'
import type { ImageSource } from './image-dataset.js'

/** Images of an IDX file: `…-images-idx3-ubyte`, with .gz or without. */
export const isIdxImages = (path: string): boolean => /images[.-]idx3-ubyte(\.gz)?$/i.test(path)

/**
 * MNIST's layout (IDX: big-endian sizes, then bytes): grey images [N,H,W] beside a file of labels whose name has `labels` for `images`
 * and `idx1` for `idx3`.
 * @throws DataError DATA_INVALID, DATA_NOT_FOUND
 */
export async function openIdx(path: string): Promise<ImageSource> {
  const labelPath = join(
    dirname(path),
    basename(path)
      .replace(/images/i, 'labels')
      .replace(/idx3/i, 'idx1'),
  )
  const images = await readIdx(path, 3)
  const labels = await readIdx(labelPath, 1)
  const [count, height, width] = images.shape
  if (labels.shape[0] !== count)
    throw new DataError('DATA_INVALID', 'images and labels do not match', {
      subject: labelPath,
      expected: `${count} labels`,
      found: String(labels.shape[0]),
    })
  const area = height * width
  return {
    name: path,
    classes: [],
    labels: Int32Array.from(labels.data),
    file: (index) => `${basename(path)}#${index}`,
    load: async (index) => ({ height, width, channels: 1, data: images.data.slice(index * area, (index + 1) * area) }),
    close: async () => {},
  }
}

async function readIdx(path: string, rank: number): Promise<{ shape: readonly number[]; data: Uint8Array }> {
  try {
    const raw = await readFile(path)
    const bytes = raw[0] === 0x1f && raw[1] === 0x8b ? await promisify(gunzip)(raw) : raw
    if (bytes.length < 4 * (rank + 1) || bytes.readUInt32BE(0) !== 0x0800 + rank)
      throw new Error(`no IDX header of bytes in ${rank} dimension${rank === 1 ? '' : 's'}`)
    const shape = Array.from({ length: rank }, (_, i) => bytes.readUInt32BE(4 * (i + 1)))
    const data = bytes.subarray(4 * (rank + 1))
    const expected = shape.reduce((n, size) => n * size, 1)
    if (data.length !== expected || expected === 0)
      throw new Error(`${data.length} bytes where its sizes need ${expected}`)
    return { shape, data }
  } catch (cause) {
    const missing = (cause as NodeJS.ErrnoException).code === 'ENOENT'
    throw new DataError(missing ? 'DATA_NOT_FOUND' : 'DATA_INVALID', 'the IDX file cannot be read', {
      subject: path,
      found: missing ? 'no such file' : cause instanceof Error ? cause.message : String(cause),
      cure: missing ? 'Keep the files of images and labels side by side' : 'Copy the file again',
      cause,
    })
  }
}
