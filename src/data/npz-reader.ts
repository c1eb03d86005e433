import { randomUUID } from 'node:crypto'
import { createWriteStream } from 'node:fs'
import { type FileHandle, open, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import type { Entry } from 'yauzl'
import { DataError } from '../errors/index.js'
import { type DType, elementCount, newTypedArray, type Tensor } from '../tensor/index.js'
import { largestNpyHeader, parseNpyHeader } from './npy.js'
import type { Zip } from './zip.js'

/** One array of an .npz, read row by row (a row is one index of its first axis). */
export interface NpzArray {
  readonly dtype: DType
  readonly shape: readonly number[]
  readonly rowShape: readonly number[]
  /** Rows [from, from+count) in a buffer of their own. */
  readRows(from: number, count: number): Promise<Tensor>
  close(): Promise<void>
}

export const npzArrayNames = (zip: Zip): string[] =>
  [...zip.entries.keys()].filter((name) => name.endsWith('.npy')).map((name) => name.slice(0, -4))

/**
 * Opens an array. A stored one is read in place; a compressed one is first unpacked into a temporary file, so that neither
 * is ever held in memory.
 * @throws DataError DATA_INVALID
 */
export async function openNpzArray(zip: Zip, name: string): Promise<NpzArray> {
  const entry = zip.entries.get(`${name}.npy`)!
  const subject = `${zip.path}: ${name}`
  let file: Place | undefined
  try {
    file =
      entry.compressionMethod === 0 && !entry.isEncrypted() ? await inPlace(zip, entry) : await unpacked(zip, entry)
    return await arrayIn(file, subject)
  } catch (cause) {
    await file?.handle.close()
    throw unreadable(subject, cause, 'numpy.savez')
  }
}

/**
 * Opens the array of an .npy file.
 * @throws DataError DATA_INVALID
 */
export async function openNpyFile(path: string): Promise<NpzArray> {
  const handle = await open(path)
  try {
    return await arrayIn({ handle, start: 0, length: (await handle.stat()).size }, path)
  } catch (cause) {
    await handle.close()
    throw unreadable(path, cause, 'numpy.save')
  }
}

interface Place {
  readonly handle: FileHandle
  readonly start: number
  readonly length: number
}

async function arrayIn({ handle, start, length }: Place, subject: string): Promise<NpzArray> {
  const head = new Uint8Array(Math.min(length, largestNpyHeader))
  await handle.read(head, 0, head.length, start)
  const { dtype, shape, bytes } = parseNpyHeader(head)
  const expected = elementCount(shape) * newTypedArray(dtype, 0).BYTES_PER_ELEMENT
  if (length - bytes !== expected) throw new Error(`${length - bytes} bytes where its shape needs ${expected}`)
  return rows(handle, start + bytes, dtype, shape, subject)
}

const unreadable = (subject: string, cause: unknown, writer: string): DataError =>
  new DataError('DATA_INVALID', 'the array cannot be read', {
    subject,
    found: cause instanceof Error ? cause.message : String(cause),
    cure: `Write the file again with ${writer}`,
    cause,
  })

function rows(handle: FileHandle, start: number, dtype: DType, shape: readonly number[], subject: string): NpzArray {
  const rowShape = shape.slice(1)
  const rowLength = elementCount(rowShape)
  return {
    dtype,
    shape,
    rowShape,
    async readRows(from, count) {
      const data = newTypedArray(dtype, count * rowLength)
      const rowBytes = rowLength * data.BYTES_PER_ELEMENT
      const { bytesRead } = await handle.read(new Uint8Array(data.buffer), 0, data.byteLength, start + from * rowBytes)
      if (bytesRead < data.byteLength)
        throw new DataError('DATA_UNDECODABLE', 'the file ends in this array', { subject })
      return { dtype, shape: [count, ...rowShape], data }
    },
    close: () => handle.close(),
  }
}

async function inPlace(zip: Zip, entry: Entry) {
  const { fileDataStart: start } = await zip.file.readLocalFileHeaderPromise(entry, { minimal: true })
  const handle = await open(zip.path)
  const { size } = await handle.stat()
  if (start + entry.uncompressedSize <= size) return { handle, start, length: entry.uncompressedSize }
  await handle.close()
  throw new Error('an entry that runs past the end of the file')
}

async function unpacked(zip: Zip, entry: Entry) {
  const path = join(tmpdir(), `signstep-${randomUUID()}.npy`)
  try {
    await pipeline(await zip.file.openReadStreamPromise(entry), createWriteStream(path, { flags: 'wx', mode: 0o600 }))
    return { handle: await open(path), start: 0, length: entry.uncompressedSize }
  } finally {
    // The open handle keeps the contents; no path is left behind however the process ends.
    await rm(path, { force: true })
  }
}
