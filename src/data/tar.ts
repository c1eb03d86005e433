import { type FileHandle, open } from 'node:fs/promises'
import { basename } from 'node:path'
import { DataError } from '../errors/index.js'
import { type Archive, isHidden, largestFile } from './archive.js'

const BLOCK = 512

interface Entry {
  readonly handle: FileHandle
  readonly start: number
  readonly size: number
}

/**
 * Uncompressed tar files (POSIX.1-1988 ustar, pax and GNU long names) as one archive, read at random. Of several, each
 * file's path begins with the name of its tar.
 * @throws DataError DATA_INVALID if one is compressed, truncated or no tar
 */
export async function openTar(paths: readonly string[], name: string): Promise<Archive> {
  const entries = new Map<string, Entry>()
  const handles: FileHandle[] = []
  const close = async (): Promise<void> => {
    await Promise.all(handles.map((handle) => handle.close()))
  }
  try {
    for (const path of paths) {
      const handle = await open(path)
      handles.push(handle)
      const prefix = paths.length === 1 ? '' : `${basename(path)}/`
      for await (const [file, entry] of entriesOf(handle, path))
        if (!file.split('/').some(isHidden)) entries.set(prefix + file, entry)
    }
  } catch (error) {
    await close()
    throw error
  }
  return {
    name,
    files: [...entries.keys()],
    async read(file) {
      const { handle, start, size } = entries.get(file) as Entry
      if (size > largestFile)
        throw new DataError('DATA_UNDECODABLE', 'the file is too large for an image', {
          subject: `${name}/${file}`,
          expected: `at most ${largestFile} bytes`,
          found: String(size),
        })
      const bytes = new Uint8Array(size)
      const { bytesRead } = await handle.read(bytes, 0, size, start)
      if (bytesRead === size) return bytes
      throw new DataError('DATA_UNDECODABLE', 'the archive ends in this file', { subject: `${name}/${file}` })
    },
    close,
  }
}

async function* entriesOf(handle: FileHandle, path: string): AsyncGenerator<[string, Entry]> {
  const { size: length } = await handle.stat()
  const header = Buffer.alloc(BLOCK)
  let longName: string | undefined
  for (let at = 0; at + BLOCK <= length; ) {
    await handle.read(header, 0, BLOCK, at)
    // An empty block ends the archive.
    if (header.every((byte) => byte === 0)) return
    const size = sizeIn(header)
    if (!checksumFits(header) || size === undefined) throw invalid(path, at === 0 ? header : undefined, at)
    const start = at + BLOCK
    const next = start + Math.ceil(size / BLOCK) * BLOCK
    if (start + size > length) throw invalid(path, undefined, at)
    const type = String.fromCharCode(header[156])
    if (type === 'L' || type === 'x') {
      // The name of the file that follows, where it is too long for its header.
      const body = Buffer.alloc(Math.min(size, 65536))
      await handle.read(body, 0, body.length, start)
      longName =
        type === 'L' ? text(body, 0, body.length) : /(?:^|\n)\d+ path=([^\n]*)\n/.exec(body.toString('utf8'))?.[1]
    } else {
      if (type === '0' || type === '\0')
        yield [(longName ?? nameIn(header)).replace(/^\.\//, ''), { handle, start, size }]
      longName = undefined
    }
    at = next
  }
}

const text = (bytes: Buffer, from: number, to: number): string => bytes.toString('utf8', from, to).replace(/\0.*$/s, '')

function nameIn(header: Buffer): string {
  const prefix = text(header, 257, 262) === 'ustar' ? text(header, 345, 500) : ''
  return prefix === '' ? text(header, 0, 100) : `${prefix}/${text(header, 0, 100)}`
}

/** Octal digits, or with the first bit set a binary number (GNU, 8 GB and more). */
function sizeIn(header: Buffer): number | undefined {
  if (header[124] & 0x80) return Number(header.readBigUInt64BE(128))
  const size = Number.parseInt(text(header, 124, 136).trim(), 8)
  return Number.isNaN(size) ? undefined : size
}

function checksumFits(header: Buffer): boolean {
  const stated = Number.parseInt(text(header, 148, 156).trim(), 8)
  let sum = 0
  for (let i = 0; i < BLOCK; i++) sum += i >= 148 && i < 156 ? 32 : header[i]
  return sum === stated
}

function invalid(path: string, first: Buffer | undefined, at: number): DataError {
  const compressed = first !== undefined && first[0] === 0x1f && first[1] === 0x8b
  return new DataError('DATA_INVALID', 'the archive cannot be read: it is truncated, damaged or no tar', {
    subject: path,
    expected: 'an uncompressed tar',
    found: compressed ? 'gzip' : `no header at byte ${at}`,
    cure: compressed ? 'Unpack it with gunzip first: its images are read at random' : 'Copy or create the file again',
  })
}
