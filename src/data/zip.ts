import { open as openFile } from 'node:fs/promises'
import { type Entry, openPromise, type ZipFile } from 'yauzl'
import { DataError } from '../errors/index.js'
import { type Archive, isHidden, largestFile } from './archive.js'
import { crc32 } from './crc32.js'

/** An open zip with its directory read; what it holds is read entry by entry. */
export interface Zip {
  readonly path: string
  readonly file: ZipFile
  readonly entries: ReadonlyMap<string, Entry>
}

/** @throws DataError DATA_INVALID if it is truncated, no zip, or has an entry whose name leaves the archive */
export async function openZip(path: string): Promise<Zip> {
  let file: ZipFile | undefined
  try {
    file = await openPromise(path, { lazyEntries: true, autoClose: false })
    const entries = new Map<string, Entry>()
    for await (const entry of file.eachEntry()) if (!entry.fileName.endsWith('/')) entries.set(entry.fileName, entry)
    return { path, file, entries }
  } catch (cause) {
    file?.close()
    throw new DataError('DATA_INVALID', 'the archive cannot be read: it is truncated, damaged or no zip', {
      subject: path,
      found: cause instanceof Error ? cause.message : String(cause),
      cure: 'Copy or create the file again',
      cause,
    })
  }
}

export async function isZip(path: string): Promise<boolean> {
  await using handle = await openFile(path)
  const { bytesRead, buffer } = await handle.read(Buffer.alloc(4), 0, 4, 0)
  // PK\3\4 begins an entry, PK\5\6 an archive of none.
  return bytesRead === 4 && (buffer.readUInt32BE(0) === 0x504b0304 || buffer.readUInt32BE(0) === 0x504b0506)
}

/** The images of a zip, read at random. */
export function zipArchive({ path, file, entries }: Zip): Archive {
  const files = [...entries.keys()].filter((name) => !name.split('/').some(isHidden))
  return {
    name: path,
    files,
    read: (name) => readEntry(path, file, entries.get(name)!),
    close: async () => file.close(),
  }
}

async function readEntry(path: string, file: ZipFile, entry: Entry): Promise<Uint8Array> {
  const subject = `${path}/${entry.fileName}`
  if (entry.uncompressedSize > largestFile)
    throw new DataError('DATA_UNDECODABLE', 'the entry is too large for an image', {
      subject,
      expected: `at most ${largestFile} bytes`,
      found: `${entry.uncompressedSize}`,
    })
  try {
    const chunks: Buffer[] = []
    for await (const chunk of await file.openReadStreamPromise(entry)) chunks.push(chunk)
    const bytes = chunks.length === 1 ? chunks[0] : Buffer.concat(chunks)
    if (crc32(bytes) !== entry.crc32) throw new Error('its checksum is wrong')
    return bytes
  } catch (cause) {
    throw new DataError('DATA_UNDECODABLE', 'the entry cannot be read', {
      subject,
      found: cause instanceof Error ? cause.message : String(cause),
      cure: 'Copy or create the archive again',
      cause,
    })
  }
}
