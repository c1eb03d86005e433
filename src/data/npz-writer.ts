import { type FileHandle, mkdtemp, open, rename, rm } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { SignstepError } from '../errors/index.js'
import { type DType, elementCount, newTypedArray, type Tensor, type TypedArray } from '../tensor/index.js'
import { crc32 } from './crc32.js'
import { makeFolder } from './make-folder.js'
import { npyHeader } from './npy.js'
import { centralDirectory, localHeader, type StoredEntry } from './zip-layout.js'

/** The arrays of an .npz that grows along their first axis: type and shape of one row each. */
export type NpzFields = Readonly<Record<string, { readonly dtype: DType; readonly shape: readonly number[] }>>

/** Rows for every field, the same number in each. */
export type NpzRows = Readonly<Record<string, TypedArray>>

export interface NpzWriter {
  readonly rows: number
  append(rows: NpzRows): Promise<void>
  /** Puts the file into its place, complete or not at all. */
  finish(): Promise<void>
  /** Leaves nothing behind. Harmless after finish. */
  abort(): Promise<void>
}

/**
 * Writes an .npz batch by batch without holding it in memory. Rows wait in a folder beside `path` until `finish` puts the
 * file together there, forces it to disk and renames it. Call `abort` if `finish` is not reached.
 * @throws SignstepError OUTPUT_FAILED
 */
export async function createNpzWriter(path: string, fields: NpzFields): Promise<NpzWriter> {
  const names = Object.keys(fields)
  const rowLength = (name: string) => elementCount(fields[name].shape)
  const files = new Map<string, FileHandle>()
  const folder = await failing(path, async () => {
    await makeFolder(dirname(path))
    return mkdtemp(join(dirname(path), `.${basename(path)}-`))
  })
  let count = 0
  const abort = async () => {
    await Promise.all([...files.values()].map((file) => file.close()))
    files.clear()
    await rm(folder, { recursive: true, force: true })
  }
  const guarded = <T>(work: () => Promise<T>) =>
    failing(path, work).catch(async (error) => {
      await abort()
      throw error
    })
  await guarded(async () => {
    for (const [index, name] of names.entries()) files.set(name, await open(join(folder, `${index}`), 'wx+'))
  })
  return {
    get rows() {
      return count
    },
    abort,
    append: (rows) =>
      guarded(async () => {
        const added = rows[names[0]].length / rowLength(names[0])
        for (const name of names) {
          const data = rows[name]
          const expected = newTypedArray(fields[name].dtype, 0)
          if (data?.constructor !== expected.constructor || data.length !== added * rowLength(name))
            throw new TypeError(`${name}: ${added} rows of ${fields[name].dtype} [${fields[name].shape}] expected`)
          await writeAll(files.get(name)!, bytesOf(data), count * rowLength(name) * data.BYTES_PER_ELEMENT)
        }
        count += added
      }),
    finish: () =>
      guarded(async () => {
        const whole = join(folder, 'whole')
        await assemble(
          whole,
          names.map((name) => ({
            name: `${name}.npy`,
            header: npyHeader(fields[name].dtype, [count, ...fields[name].shape]),
            chunks: chunksOf(files.get(name)!),
          })),
        )
        await rename(whole, path)
        await abort()
      }),
  }
}

/**
 * Writes arrays as an .npz that numpy.load reads: under a temporary name, forced to disk, renamed.
 * @throws SignstepError OUTPUT_FAILED
 */
export async function writeNpz(path: string, arrays: Readonly<Record<string, Tensor>>): Promise<void> {
  await failing(path, async () => {
    await makeFolder(dirname(path))
    const folder = await mkdtemp(join(dirname(path), `.${basename(path)}-`))
    try {
      const whole = join(folder, 'whole')
      await assemble(
        whole,
        Object.entries(arrays).map(([name, { dtype, shape, data }]) => ({
          name: `${name}.npy`,
          header: npyHeader(dtype, shape),
          chunks: [bytesOf(data)],
        })),
      )
      await rename(whole, path)
    } finally {
      await rm(folder, { recursive: true, force: true })
    }
  })
}

interface Part {
  readonly name: string
  readonly header: Uint8Array
  readonly chunks: AsyncIterable<Uint8Array> | Iterable<Uint8Array>
}

async function assemble(path: string, parts: readonly Part[]): Promise<void> {
  await using file = await open(path, 'wx')
  const entries: StoredEntry[] = []
  let position = 0
  const write = async (bytes: Uint8Array) => {
    await writeAll(file, bytes, position)
    position += bytes.length
  }
  for (const { name, header, chunks } of parts) {
    const offset = position
    const blank = localHeader({ name, size: 0, crc: 0 })
    await write(blank)
    await write(header)
    let crc = crc32(header)
    for await (const chunk of chunks) {
      await write(chunk)
      crc = crc32(chunk, crc)
    }
    const entry = { name, size: position - offset - blank.length, crc, offset }
    // The header stands before the data but holds its checksum: it is written again.
    const final = localHeader(entry)
    await writeAll(file, final, offset)
    entries.push(entry)
  }
  await writeAll(file, centralDirectory(entries, position), position)
  await file.sync()
}

async function* chunksOf(file: FileHandle): AsyncIterable<Uint8Array> {
  const buffer = new Uint8Array(2 ** 20)
  for (let position = 0; ; ) {
    const { bytesRead } = await file.read(buffer, 0, buffer.length, position)
    if (bytesRead === 0) return
    yield buffer.subarray(0, bytesRead)
    position += bytesRead
  }
}

/** Writes all bytes: one call may write fewer. */
async function writeAll(file: FileHandle, bytes: Uint8Array, position: number): Promise<void> {
  for (let done = 0; done < bytes.length; )
    done += (await file.write(bytes, done, bytes.length - done, position + done)).bytesWritten
}

const bytesOf = (data: TypedArray) => new Uint8Array(data.buffer, data.byteOffset, data.byteLength)

async function failing<T>(path: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work()
  } catch (cause) {
    if (cause instanceof TypeError) throw cause
    throw new SignstepError('OUTPUT_FAILED', 'the file cannot be written', {
      subject: path,
      found: cause instanceof Error ? cause.message : String(cause),
      cure: 'Check the free space and the permissions of the folder',
      cause,
    })
  }
}
