import { DataError } from '../errors/index.js'

/** [C,H,W] that the model takes; null or a missing entry where it takes any. */
export type ExpectedShape = readonly (number | null | undefined)[]

/** @throws DataError DATA_INVALID with the options that mend it */
export function checkImageShape(file: string, shape: readonly [number, number, number], expected: ExpectedShape): void {
  const fits = shape.every((size, axis) => (expected[axis] ?? size) === size)
  if (fits) return
  const [channels, height, width] = shape.map((size, axis) => expected[axis] ?? size)
  const found = `${shape.join('x')} (channels x height x width)`
  const wanted = `${[0, 1, 2].map((axis) => expected[axis] ?? 'any').join('x')} as the model takes it`
  const square = height === width ? `--resize ${height} --crop ${height}` : `--resize ${height}x${width}`
  throw new DataError('DATA_INVALID', 'the images do not fit the model', {
    subject: file,
    expected: wanted,
    found,
    cure:
      shape[0] !== channels
        ? `Give images of ${channels} channel${channels === 1 ? '' : 's'}`
        : `Bring them to size with ${square}`,
  })
}
