import { DataError } from '../errors/index.js'

/** What rounding in float32 may leave outside [0,1]; such values are brought back to the border. */
const tolerance = 1e-6

/**
 * Checks that values lie in [0,1].
 * @throws DataError DATA_INVALID naming `subject`, with the likely cause of a wrong scale
 */
export function checkUnit(values: Float32Array, subject: string): void {
  for (let i = 0; i < values.length; i++) {
    const value = values[i]
    if (value >= 0 && value <= 1) continue
    if (value >= -tolerance && value <= 1 + tolerance) values[i] = value < 0 ? 0 : 1
    else throw outside(values, subject)
  }
}

function outside(values: Float32Array, subject: string): DataError {
  if (values.some((value) => !Number.isFinite(value)))
    return new DataError('DATA_INVALID', 'the image has values that are no numbers', {
      subject,
      expected: 'values in [0,1]',
      found: 'NaN or infinity',
      cure: 'Find where they come from before the images are saved',
    })
  const low = values.reduce((a, b) => Math.min(a, b))
  const high = values.reduce((a, b) => Math.max(a, b))
  return new DataError('DATA_INVALID', 'the image leaves [0,1]', {
    subject,
    expected: 'values in [0,1]',
    found: `${Number(low.toPrecision(4))} … ${Number(high.toPrecision(4))}`,
    cure:
      low < 0
        ? 'Undo the normalisation (images * std + mean): mean and std belong to the model, --mean --std or --preprocess'
        : 'Divide the images by 255',
  })
}
