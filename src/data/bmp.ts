import type { Pixels } from './pixels.js'

/**
 * Decodes an uncompressed Windows bitmap (1 to 32 bits a pixel, palettes and bit fields) to RGB, alpha dropped. The image library that
 * decodes the other formats does not read these.
 * @throws Error saying what is wrong with the file
 */
export function decodeBmp(bytes: Uint8Array): Pixels {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  if (bytes.length < 26) throw new Error('the header is truncated')
  const headerSize = view.getUint32(14, true)
  const core = headerSize === 12 // the header of OS/2 1.x: 16-bit sizes, three bytes a colour
  if (!core && (headerSize < 40 || bytes.length < 14 + headerSize)) throw new Error('the header is truncated')
  const width = core ? view.getUint16(18, true) : view.getInt32(18, true)
  const signedHeight = core ? view.getUint16(20, true) : view.getInt32(22, true)
  const height = Math.abs(signedHeight)
  const bits = view.getUint16(core ? 24 : 28, true)
  const compression = core ? 0 : view.getUint32(30, true)
  if (width < 1 || height < 1 || width * height > 2 ** 28) throw new Error(`a size of ${width}x${height}`)
  if (compression !== 0 && compression !== 3) throw new Error(`compression ${compression}, which is not read`)

  const start = view.getUint32(10, true)
  const stride = Math.ceil((width * bits) / 32) * 4
  if (start + stride * height > bytes.length) throw new Error('the pixels are truncated')
  const colour = bits <= 8 ? paletteColour(view, bits, core, headerSize, start) : directColour(view, bits, compression)
  const data = new Uint8Array(width * height * 3)
  for (let y = 0; y < height; y++) {
    // The bottom line comes first, unless the height is negative.
    const line = start + (signedHeight < 0 ? y : height - 1 - y) * stride
    for (let x = 0; x < width; x++) colour(line, x, data, (y * width + x) * 3)
  }
  return { width, height, channels: 3, data }
}

/** Writes pixel x of the line that begins at byte `line` to `out[at]` … */
type Colour = (line: number, x: number, out: Uint8Array, at: number) => void

function paletteColour(view: DataView, bits: number, core: boolean, headerSize: number, start: number): Colour {
  if (![1, 2, 4, 8].includes(bits)) throw new Error(`${bits} bits a pixel`)
  const entry = core ? 3 : 4
  const from = 14 + headerSize
  const count = Math.floor((start - from) / entry)
  const perByte = 8 / bits
  const mask = (1 << bits) - 1
  return (line, x, out, at) => {
    const byte = view.getUint8(line + Math.floor(x / perByte))
    const index = (byte >> (8 - bits * ((x % perByte) + 1))) & mask
    if (index >= count) throw new Error('a pixel outside of the palette')
    const place = from + index * entry
    for (let c = 0; c < 3; c++) out[at + c] = view.getUint8(place + 2 - c)
  }
}

function directColour(view: DataView, bits: number, compression: number): Colour {
  if (bits === 24 || (bits === 32 && compression === 0)) {
    const size = bits / 8
    return (line, x, out, at) => {
      for (let c = 0; c < 3; c++) out[at + c] = view.getUint8(line + x * size + 2 - c)
    }
  }
  if (bits !== 16 && bits !== 32) throw new Error(`${bits} bits a pixel`)
  const masks = compression === 3 ? [54, 58, 62].map((at) => view.getUint32(at, true)) : [0x7c00, 0x3e0, 0x1f]
  const fields = masks.map((mask) => {
    const shift = mask === 0 ? 0 : 31 - Math.clz32(mask & -mask)
    return { mask, shift, most: mask >>> shift }
  })
  return (line, x, out, at) => {
    const value = bits === 16 ? view.getUint16(line + x * 2, true) : view.getUint32(line + x * 4, true)
    for (const [c, { mask, shift, most }] of fields.entries())
      out[at + c] = most === 0 ? 0 : Math.floor((((value & mask) >>> shift) * 255) / most)
  }
}
