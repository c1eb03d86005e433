import { deflateSync } from 'node:zlib'
import { crc32 } from '../data/index.js'

/** Encodes [C,H,W] floats in [0,1] (one or three channels) as a PNG, rounded to 8 bits, for showing only. */
export function encodePng(pixels: Float32Array, [channels, height, width]: readonly [number, number, number]): Buffer {
  const plane = height * width
  const rows = Buffer.alloc(height * (1 + 3 * width)) // every row starts with its filter, 0 = none
  for (let y = 0; y < height; y++)
    for (let x = 0; x < width; x++)
      for (let c = 0; c < 3; c++) {
        const value = pixels[Math.min(c, channels - 1) * plane + y * width + x]
        rows[y * (1 + 3 * width) + 1 + 3 * x + c] = Math.round(255 * Math.min(1, Math.max(0, value)))
      }
  const header = Buffer.alloc(13)
  header.writeUInt32BE(width, 0)
  header.writeUInt32BE(height, 4)
  header.set([8, 2], 8) // 8 bits a channel, RGB
  return Buffer.concat([
    Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]),
    chunk('IHDR', header),
    chunk('IDAT', deflateSync(rows, { level: 9 })),
    chunk('IEND', Buffer.alloc(0)),
  ])
}

function chunk(type: string, data: Buffer): Buffer {
  const body = Buffer.concat([Buffer.from(type, 'latin1'), data])
  const framed = Buffer.alloc(body.length + 8)
  framed.writeUInt32BE(data.length, 0)
  framed.set(body, 4)
  framed.writeUInt32BE(crc32(body), body.length + 4)
  return framed
}
