import { OptionError } from '../errors/index.js'
import type { Magnitude } from './types.js'

/**
 * ε or α as numbers in pixel units of [0,1] images. Accepts `0.03`, `'0.03'`, `'8/255'` and one value per sample.
 * Throws OptionError OPTION_INVALID for values that are not positive, above 1, or no numbers.
 */
export function parseMagnitude(value: Magnitude, option: string): number | Float32Array {
  if (value instanceof Float32Array) {
    for (const [i, size] of value.entries()) check(size, `${option}[${i}]`, String(size))
    return value
  }
  const number = typeof value === 'number' ? value : fraction(value)
  check(number, option, String(value))
  return number
}

function fraction(text: string): number {
  const [top, bottom, ...rest] = text.trim().split('/')
  if (rest.length > 0 || top === '' || bottom === '') return Number.NaN
  return Number(top) / (bottom === undefined ? 1 : Number(bottom))
}

function check(size: number, option: string, found: string): void {
  if (size > 0 && size <= 1) return
  const whole = Number.isInteger(size) && size > 1 && size < 256
  throw new OptionError('OPTION_INVALID', 'is out of range', {
    subject: option,
    expected: 'a size in pixel units of [0,1] images, above 0 and at most 1, as 8/255 or 0.03',
    found: `'${found}'`,
    cure: whole ? `Write ${size}/255 if ${size} of 255 grey levels are meant.` : undefined,
  })
}

/** An L2 radius may exceed 1: it is the length of a whole image's change. */
export function parseRadius(value: Magnitude, option: string): number | Float32Array {
  const number = typeof value === 'string' ? fraction(value) : value
  const sizes = typeof number === 'number' ? [number] : number
  for (const size of sizes)
    if (!(size > 0 && Number.isFinite(size)))
      throw new OptionError('OPTION_INVALID', 'is out of range', {
        subject: option,
        expected: 'a length above 0, as 0.5 or 128/255',
        found: `'${String(value)}'`,
      })
  return number
}
