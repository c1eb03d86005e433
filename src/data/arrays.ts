import { DataError } from '../errors/index.js'
import type { Dataset } from './dataset.js'
import { checkUnit } from './unit-range.js'

/**
 * A data set of images in memory; the arrays are not copied.
 * @param images float32 [N,C,H,W] in [0,1]
 * @param labels class numbers [N]
 * @param shape [C,H,W]
 * @throws DataError DATA_INVALID if lengths do not match or values leave [0,1]
 */
export function datasetFromArrays(
  images: Float32Array,
  labels: Int32Array | readonly number[],
  shape: readonly [number, number, number],
): Dataset {
  const size = shape[0] * shape[1] * shape[2]
  if (labels.length === 0 || images.length !== labels.length * size)
    throw new DataError('DATA_INVALID', 'images and labels do not match', {
      subject: 'array',
      expected: `${labels.length} images of ${shape.join('x')}: ${labels.length * size} values`,
      found: `${images.length} values`,
    })
  const row = (index: number) => images.subarray(index * size, (index + 1) * size)
  for (let i = 0; i < labels.length; i++) checkUnit(row(i), `array#${i}`)
  return {
    name: 'array',
    length: labels.length,
    classes: [],
    labels: Int32Array.from(labels),
    imageShape: shape,
    file: (index) => `array#${index}`,
    read: async (index, out) => out.set(row(index)),
    close: async () => {},
    [Symbol.asyncDispose]: async () => {},
  }
}
