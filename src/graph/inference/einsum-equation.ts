export interface EinsumEquation {
  /** One letter an axis, for every operand. */
  readonly terms: readonly string[]
  readonly result: string
}

/**
 * The subscripts of an Einsum in full: a letter for each axis that `...` stands for (aligned at its right end, as broadcasting is), and
 * the result that an equation without `->` implies: those axes, then the letters that occur once, in alphabetical order.
 */
export function einsumEquation(equation: string, ranks: readonly number[]): EinsumEquation {
  const [left, right] = equation.replaceAll(' ', '').split('->')
  const given = left.split(',')
  const hidden = given.map((term, i) => (term.includes('...') ? Math.max(0, (ranks[i] ?? 0) - term.length + 3) : 0))
  const free = [...'ABCDEFGHIJKLMNOPQRSTUVWXYZ'].filter((letter) => !equation.includes(letter))
  const spread = free.slice(0, Math.max(...hidden)).join('')
  const terms = given.map((term, i) => term.replace('...', spread.slice(spread.length - hidden[i])))
  const letters = [...left.replaceAll('...', '').replaceAll(',', '')]
  const once = letters.filter((letter) => letters.indexOf(letter) === letters.lastIndexOf(letter)).sort()
  return { terms, result: right === undefined ? spread + once.join('') : right.replace('...', spread) }
}
