import { open } from 'node:fs/promises'
import { basename } from 'node:path'
import { DataError } from '../errors/index.js'
import type { ImageSource } from './image-dataset.js'
import { planesToPixels } from './pixels.js'

const pixelBytes = 3 * 32 * 32
const recordBytes = 1 + pixelBytes

/**
 * CIFAR-10's binary layout (cs.toronto.edu/~kriz/cifar.html): records of a label byte and 32x32 planes of red, green, blue.
 * @throws DataError DATA_INVALID if the size is no whole number of records
 */
export async function openCifarBinary(path: string): Promise<ImageSource> {
  const handle = await open(path)
  try {
    const { size } = await handle.stat()
    if (size === 0 || size % recordBytes !== 0)
      throw new DataError('DATA_INVALID', 'not in the binary layout of CIFAR-10', {
        subject: path,
        expected: `records of ${recordBytes} bytes (label, then 3x32x32)`,
        found: `${size} bytes: ${Math.floor(size / recordBytes)} records and ${size % recordBytes} bytes`,
        cure: 'Copy the file again if it is truncated; otherwise give folders, a zip or .npz',
      })
    const labels = await readLabels(handle, size / recordBytes)
    return {
      name: path,
      classes: [],
      labels,
      file: (index) => `${basename(path)}#${index}`,
      async load(index) {
        const planes = new Uint8Array(pixelBytes)
        const { bytesRead } = await handle.read(planes, 0, pixelBytes, index * recordBytes + 1)
        if (bytesRead < pixelBytes)
          throw new DataError('DATA_UNDECODABLE', 'the file ends in this record', { subject: `${path}#${index}` })
        return planesToPixels(planes, 3, 32, 32)
      },
      close: () => handle.close(),
    }
  } catch (error) {
    await handle.close()
    throw error
  }
}

async function readLabels(handle: Awaited<ReturnType<typeof open>>, count: number): Promise<Int32Array> {
  const labels = new Int32Array(count)
  const chunk = 1024
  const buffer = new Uint8Array(chunk * recordBytes)
  for (let from = 0; from < count; from += chunk) {
    const records = Math.min(chunk, count - from)
    await handle.read(buffer, 0, records * recordBytes, from * recordBytes)
    for (let i = 0; i < records; i++) labels[from + i] = buffer[i * recordBytes]
  }
  return labels
}
