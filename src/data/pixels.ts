/** A decoded image: rows of interleaved 8-bit samples (HWC), grey (1 channel) or RGB (3). */
export interface Pixels {
  readonly width: number
  readonly height: number
  readonly channels: number
  readonly data: Uint8Array
}

/** v / 255 rounded to float32, as torchvision's ToTensor computes it. */
const unit = Float32Array.from({ length: 256 }, (_, v) => v / 255)

/** Scales bytes to [0,1]. */
export function bytesToUnit(bytes: Uint8Array, out: Float32Array): void {
  for (let i = 0; i < bytes.length; i++) out[i] = unit[bytes[i]]
}

/** Writes an image into planes [C,height,width] of [0,1], its top left corner at (left, top); the rest stays as it is. */
export function pixelsToPlanes(
  pixels: Pixels,
  out: Float32Array,
  height: number,
  width: number,
  top: number,
  left: number,
): void {
  const { channels, data } = pixels
  for (let c = 0; c < channels; c++)
    for (let y = 0; y < pixels.height; y++) {
      let from = y * pixels.width * channels + c
      let to = (c * height + top + y) * width + left
      for (let x = 0; x < pixels.width; x++, from += channels) out[to++] = unit[data[from]]
    }
}

/** Interleaves planes [channels,height,width]. */
export function planesToPixels(planes: Uint8Array, channels: number, height: number, width: number): Pixels {
  const area = height * width
  const data = new Uint8Array(planes.length)
  for (let c = 0; c < channels; c++) for (let i = 0; i < area; i++) data[i * channels + c] = planes[c * area + i]
  return { width, height, channels, data }
}

/** Luma of ITU-R 601-2 in 16-bit fixed point, as Pillow's convert('L') rounds it. */
export function toGrey(pixels: Pixels): Pixels {
  if (pixels.channels === 1) return pixels
  const rgb = pixels.data
  const data = new Uint8Array(pixels.width * pixels.height)
  for (let i = 0, j = 0; i < data.length; i++, j += 3)
    data[i] = (rgb[j] * 19595 + rgb[j + 1] * 38470 + rgb[j + 2] * 7471 + 0x8000) >> 16
  return { ...pixels, channels: 1, data }
}

/** Repeats a grey image three times. */
export function toRgb(pixels: Pixels): Pixels {
  if (pixels.channels === 3) return pixels
  const data = new Uint8Array(pixels.data.length * 3)
  for (let i = 0; i < data.length; i++) data[i] = pixels.data[(i / 3) | 0]
  return { ...pixels, channels: 3, data }
}
