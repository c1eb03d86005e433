import { type AttackSpec, type AttackSpecOptions, parseAttack } from '../attack/index.js'

/** Attacks × radii of a command line, in reading order: all ε of the first attack, then the next. */
export function attackSpecs(names: readonly string[], options: Record<string, unknown>): AttackSpec[] {
  const radii = String(options.eps).split(',')
  const settings: Record<string, unknown> = {}
  for (const key of ['alpha', 'steps', 'restarts', 'norm', 'start', 'iterate', 'earlyStop', 'decay', 'noise', 'loss'])
    if (options[key] !== undefined) settings[key] = options[key]
  if (options.target !== undefined)
    settings.target = /^\d+$/.test(options.target as string) ? Number(options.target) : options.target
  // commander gives `true` where --no-random-start is absent; an attack that has no random start must not be told to take one.
  if (options.randomStart === false) settings.randomStart = false
  return names.flatMap((name) => radii.map((eps) => parseAttack(name, { ...settings, eps } as AttackSpecOptions)))
}
