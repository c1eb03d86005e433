import type { Sharp } from 'sharp'
import { DataError, RuntimeError } from '../errors/index.js'
import { decodeBmp } from './bmp.js'
import { imageFormats } from './image-formats.js'
import type { Pixels } from './pixels.js'

/**
 * Decodes a JPEG, PNG, WebP, GIF (its first picture), TIFF or BMP file to the pixels of Pillow's `Image.open(file).convert('RGB')`: no colour management, no
 * rotation by EXIF, alpha dropped, palettes expanded, the high byte of 16-bit samples.
 * @throws DataError DATA_UNDECODABLE naming `file`; RuntimeError RUNTIME_MISSING where sharp cannot be loaded
 */
export async function decodeImage(bytes: Uint8Array, file: string): Promise<Pixels> {
  const format = imageFormat(bytes)
  if (format === undefined)
    throw undecodable(file, bytes.length === 0 ? 'the file is empty' : `not a ${imageFormats} image`)
  if (format === 'bmp') {
    try {
      return decodeBmp(bytes)
    } catch (cause) {
      throw undecodable(file, cause instanceof Error ? cause.message : String(cause), cause)
    }
  }
  const sharp = await loadSharp()
  // 'error', not sharp's 'warning': Pillow too reads files with stray bytes between markers.
  const open = () => sharp(bytes, { failOn: 'error', ignoreIcc: true })
  try {
    return format === 'cmyk'
      ? cmykToRgb(await raw(open().pipelineColourspace('cmyk').toColourspace('cmyk')))
      : await raw(open().removeAlpha().toColourspace('srgb'))
  } catch (cause) {
    throw undecodable(file, cause instanceof Error ? cause.message : String(cause), cause)
  }
}

/** Loads sharp on first use, so that models can be attacked on arrays without it. */
function loadSharp(): Promise<typeof import('sharp').default> {
  loaded ??= import('sharp').then(
    (module) => module.default,
    (cause) => {
      loaded = undefined
      throw new RuntimeError('RUNTIME_MISSING', 'the image decoder cannot be loaded', {
        subject: 'sharp',
        found: cause instanceof Error ? cause.message.split('\n')[0] : String(cause),
        cure: 'Install it with `npm install sharp`, or give the images as .npz',
        cause,
      })
    },
  )
  return loaded
}
let loaded: Promise<typeof import('sharp').default> | undefined

async function raw(image: Sharp): Promise<Pixels> {
  const { data, info } = await image.raw().toBuffer({ resolveWithObject: true })
  return { width: info.width, height: info.height, channels: info.channels, data }
}

function undecodable(file: string, why: string, cause?: unknown): DataError {
  return new DataError('DATA_UNDECODABLE', `the image cannot be decoded: ${why.trim().replaceAll('\n', '; ')}`, {
    subject: file,
    cure: 'Replace or remove the file',
    cause,
  })
}

/** The format by its first bytes: sharp would also take SVG and others, whose pixels nothing here vouches for. */
function imageFormat(bytes: Uint8Array): 'cmyk' | 'bmp' | 'other' | undefined {
  const text = (from: number, to: number) => String.fromCharCode(...bytes.subarray(from, to))
  if (text(0, 3) === '\xff\xd8\xff') return jpegComponents(bytes) === 4 ? 'cmyk' : 'other'
  if (text(0, 2) === 'BM') return 'bmp'
  const known =
    text(0, 8) === '\x89PNG\r\n\x1a\n' ||
    (text(0, 4) === 'RIFF' && text(8, 12) === 'WEBP') ||
    ['GIF87a', 'GIF89a'].includes(text(0, 6)) ||
    ['II*\0', 'MM\0*'].includes(text(0, 4))
  return known ? 'other' : undefined
}

/** The number of components in the frame header of a JPEG; 0 where none is found. */
function jpegComponents(bytes: Uint8Array): number {
  for (let at = 2; at + 9 < bytes.length && bytes[at] === 0xff; ) {
    const marker = bytes[at + 1]
    if (marker === 0xff) {
      at++
      continue
    }
    // SOF0 … SOF15 without DHT, JPG and DAC, which share the range.
    if (marker >= 0xc0 && marker <= 0xcf && marker !== 0xc4 && marker !== 0xc8 && marker !== 0xcc) return bytes[at + 9]
    at += 2 + ((bytes[at + 2] << 8) | bytes[at + 3])
  }
  return 0
}

/** Pillow's plain conversion (cmyk2rgb in src/libImaging/Convert.c). */
function cmykToRgb({ width, height, data: cmyk }: Pixels): Pixels {
  const data = new Uint8ClampedArray(width * height * 3)
  for (let i = 0, j = 0; j < data.length; i += 4) {
    const light = 255 - cmyk[i + 3]
    for (let c = 0; c < 3; c++) {
      const product = cmyk[i + c] * light + 128
      data[j++] = light - (((product >> 8) + product) >> 8)
    }
  }
  return { width, height, channels: 3, data: new Uint8Array(data.buffer) }
}
