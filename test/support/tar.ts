import { readFileSync } from 'node:fs'
import { gunzipSync } from 'node:zlib'

/** The files of a .tar.gz by path (plain ustar entries; long names by the prefix field). */
export function readTarGz(path: string): Map<string, Buffer> {
  const bytes = gunzipSync(readFileSync(path))
  const files = new Map<string, Buffer>()
  const text = (start: number, length: number): string =>
    bytes.toString('utf8', start, start + length).replace(/\0.*$/s, '')
  for (let at = 0; at + 512 <= bytes.length && bytes[at] !== 0; ) {
    const size = Number.parseInt(text(at + 124, 12), 8)
    const prefix = text(at + 345, 155)
    const name = prefix === '' ? text(at, 100) : `${prefix}/${text(at, 100)}`
    const type = String.fromCharCode(bytes[at + 156])
    if (type === '0' || type === '\0') files.set(name, bytes.subarray(at + 512, at + 512 + size))
    at += 512 + Math.ceil(size / 512) * 512
  }
  return files
}
