import { writeFileSync } from 'node:fs'

/** Writes an uncompressed ustar file; names over 100 bytes go into a pax or GNU header before their entry. */
export function writeTar(path: string, files: Record<string, Uint8Array>, long: 'pax' | 'gnu' = 'pax'): void {
  const parts: Buffer[] = []
  for (const [name, data] of Object.entries(files)) {
    if (Buffer.byteLength(name) > 100) {
      const record = (length: number): string => `${length} path=${name}\n`
      let length = record(0).length
      while (record(length).length !== length) length = record(length).length
      const body = Buffer.from(long === 'pax' ? record(length) : `${name}\0`)
      parts.push(header('././@LongLink', body.length, long === 'pax' ? 'x' : 'L'), padded(body))
    }
    parts.push(header(name.slice(0, 100), data.length, '0'), padded(Buffer.from(data)))
  }
  writeFileSync(path, Buffer.concat([...parts, Buffer.alloc(1024)]))
}

const padded = (bytes: Buffer): Buffer => Buffer.concat([bytes, Buffer.alloc((512 - (bytes.length % 512)) % 512)])

function header(name: string, size: number, type: string): Buffer {
  const block = Buffer.alloc(512)
  block.write(name, 0)
  block.write('0000644\0', 100)
  block.write(`${size.toString(8).padStart(11, '0')}\0`, 124)
  block.write('        ', 148)
  block.write(type, 156)
  block.write('ustar\x0000', 257)
  const sum = block.reduce((a, b) => a + b, 0)
  block.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148)
  return block
}
