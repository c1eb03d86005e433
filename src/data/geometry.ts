import { checkChoice, OptionError } from '../errors/index.js'

/** Height and width in pixels. */
export type Size = readonly [height: number, width: number]

/** Pillow's filters. */
export const interpolations = ['nearest', 'box', 'bilinear', 'hamming', 'bicubic', 'lanczos'] as const
export type Interpolation = (typeof interpolations)[number]

/** What is done to every image before it is scaled to [0,1], in this order. */
export interface Geometry {
  /** A number scales the shorter side to it and keeps the aspect ratio, as torchvision's Resize; a size is taken as it is. */
  readonly resize?: number | Size
  /** Cuts the centre out, as torchvision's CenterCrop; smaller images get a black border. A number means a square. */
  readonly crop?: number | Size
  /** The filter of the resize, antialiased but for `nearest`. Default `bilinear`. */
  readonly interpolation?: Interpolation
}

/** Where the pixels of one image go. */
export interface Placement {
  /** Size of the whole image after the resize. */
  readonly scaled: Size
  /** Size of the result. */
  readonly size: Size
  /** Top left corner of the result in the scaled image; negative where a border is added. */
  readonly top: number
  readonly left: number
}

/** Computes sizes and offsets as torchvision 0.2x does (functional.resize, functional.center_crop). */
export function place(height: number, width: number, geometry: Geometry): Placement {
  const scaled = scaledSize(height, width, geometry.resize)
  const size = geometry.crop === undefined ? scaled : squareSize(geometry.crop)
  return { scaled, size, top: centre(scaled[0], size[0]), left: centre(scaled[1], size[1]) }
}

/** The size of every result, if it does not depend on the image. */
export function fixedSize({ resize, crop }: Geometry): Size | undefined {
  if (crop !== undefined) return squareSize(crop)
  return typeof resize === 'object' ? resize : undefined
}

/**
 * Reads a size written as `224` or `224x256` (height × width).
 * @throws OptionError OPTION_INVALID naming `option`
 */
export function parseSize(text: string, option: string): number | Size {
  const match = /^(\d+)(?:[x×](\d+))?$/.exec(text.trim())
  if (match === null) throw invalidSize(option, `'${text}'`)
  const sizes = match.slice(1).filter((part) => part !== undefined)
  const size = sizes.length === 1 ? Number(sizes[0]) : ([Number(sizes[0]), Number(sizes[1])] as const)
  checkSize(size, option)
  return size
}

/** @throws OptionError OPTION_INVALID */
export function checkGeometry({ resize, crop, interpolation }: Geometry): void {
  if (resize !== undefined) checkSize(resize, 'resize')
  if (crop !== undefined) checkSize(crop, 'crop')
  checkChoice(interpolation, interpolations, 'interpolation')
}

const largest = 16384

function checkSize(size: number | Size, option: string): void {
  const sides = typeof size === 'number' ? [size] : [...size]
  const valid = sides.length <= 2 && sides.every((side) => Number.isInteger(side) && side >= 1 && side <= largest)
  if (!valid) throw invalidSize(option, sides.join('x'))
}

function invalidSize(option: string, found: string): OptionError {
  return new OptionError('OPTION_INVALID', 'not a size', {
    subject: option,
    expected: `whole pixels from 1 to ${largest}, written 224 or 224x256 (height x width)`,
    found,
  })
}

const squareSize = (size: number | Size): Size => (typeof size === 'number' ? [size, size] : size)

function scaledSize(height: number, width: number, resize: Geometry['resize']): Size {
  if (resize === undefined) return [height, width]
  if (typeof resize === 'object') return resize
  // torchvision truncates the longer side.
  const [short, long] = height <= width ? [height, width] : [width, height]
  const scaledLong = Math.max(1, Math.trunc((resize * long) / short))
  return height <= width ? [resize, scaledLong] : [scaledLong, resize]
}

function centre(scaled: number, size: number): number {
  if (size > scaled) return -Math.floor((size - scaled) / 2)
  // Python's round: halves go to the even neighbour.
  const floor = Math.floor((scaled - size) / 2)
  return (scaled - size) % 2 === 1 && floor % 2 === 1 ? floor + 1 : floor
}
