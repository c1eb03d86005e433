import * as zlib from 'node:zlib'

/** The checksum of zip and PNG; `value` continues that of earlier bytes. */
export const crc32: (data: Uint8Array, value?: number) => number =
  // Node has a fast one from 20.15 on.
  (zlib as { crc32?: typeof crc32 }).crc32 ?? crc32Portable

const table = Uint32Array.from({ length: 256 }, (_, byte) => {
  let value = byte
  for (let bit = 0; bit < 8; bit++) value = value & 1 ? 0xedb88320 ^ (value >>> 1) : value >>> 1
  return value
})

export function crc32Portable(data: Uint8Array, value = 0): number {
  let crc = ~value
  for (let i = 0; i < data.length; i++) crc = table[(crc ^ data[i]) & 0xff] ^ (crc >>> 8)
  return ~crc >>> 0
}
