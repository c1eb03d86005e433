import { OptionError } from './index.js'
import { nearest } from './nearest.js'

/** Throws OptionError OPTION_UNKNOWN for the first key that is not among the known ones, with the nearest of them. */
export function refuseUnknownOptions(options: object, known: readonly string[], of: string): void {
  for (const key of Object.keys(options)) {
    if (known.includes(key)) continue
    const near = nearest(key, known)
    throw new OptionError('OPTION_UNKNOWN', `is no option of ${of}`, {
      subject: key,
      cure: near && `Did you mean ${near}?`,
    })
  }
}

/** Throws OptionError OPTION_INVALID unless the value is absent or one of the choices. */
export function checkChoice(value: unknown, choices: readonly string[], subject: string): void {
  if (value === undefined || choices.includes(value as string)) return
  const near = nearest(String(value), choices)
  throw new OptionError('OPTION_INVALID', 'is no known choice', {
    subject,
    expected: choices.join(', '),
    found: `'${String(value)}'`,
    cure: near && `Did you mean ${near}?`,
  })
}

/** Throws OptionError OPTION_INVALID unless the value is absent or a whole number from `low` that a double holds exactly. */
export function checkWhole(value: unknown, low: number, subject: string): void {
  if (value === undefined || (Number.isSafeInteger(value) && (value as number) >= low)) return
  throw new OptionError('OPTION_INVALID', 'is out of range', {
    subject,
    expected: `a whole number from ${low}`,
    found: String(value),
  })
}
