import { writeFileSync } from 'node:fs'
import { deflateRawSync } from 'node:zlib'
import { crc32 } from '#signstep/data/index.js'

export interface ZipOptions {
  readonly deflate?: boolean
  /** Stored in place of the right checksum. */
  readonly crc?: number
}

/** Writes a plain 32-bit zip, entry names as they are given. */
export function writeZip(path: string, files: Record<string, Uint8Array>, options: ZipOptions = {}): void {
  const locals: Buffer[] = []
  const central: Buffer[] = []
  let offset = 0
  for (const [name, data] of Object.entries(files)) {
    const body = options.deflate ? deflateRawSync(data) : Buffer.from(data)
    const common = Buffer.alloc(26)
    common.writeUInt16LE(20, 0)
    common.writeUInt16LE(options.deflate ? 8 : 0, 4)
    common.writeUInt32LE(options.crc ?? crc32(data), 10)
    common.writeUInt32LE(body.length, 14)
    common.writeUInt32LE(data.length, 18)
    common.writeUInt16LE(Buffer.byteLength(name), 22)
    locals.push(Buffer.from('PK\x03\x04'), common, Buffer.from(name), body)
    const rest = Buffer.alloc(14)
    rest.writeUInt32LE(offset, 10)
    central.push(Buffer.from('PK\x01\x02\x14\x00'), common, rest, Buffer.from(name))
    offset = locals.reduce((sum, part) => sum + part.length, 0)
  }
  const directory = Buffer.concat(central)
  const end = Buffer.alloc(22)
  end.write('PK\x05\x06', 'latin1')
  end.writeUInt16LE(Object.keys(files).length, 8)
  end.writeUInt16LE(Object.keys(files).length, 10)
  end.writeUInt32LE(directory.length, 12)
  end.writeUInt32LE(offset, 16)
  writeFileSync(path, Buffer.concat([...locals, directory, end]))
}
