import type { EvaluationResult, Proportion } from '../evaluate/index.js'
import { epsLabel } from './eps-label.js'
import { percent, rate } from './markup.js'

/** The result as a plain text table for a terminal: clean accuracy, then a line an attack and ε. */
export function renderTable(result: EvaluationResult): string {
  const head = ['attack', 'norm', 'eps', 'accuracy', '95 % interval', 'images/s', 'gradients']
  const rows = [
    [
      'clean',
      '',
      '',
      percent(result.clean.accuracy),
      interval(result.clean),
      rate(result.samples / result.clean.seconds),
      '',
    ],
    ...result.attacks.map((a) => [
      a.name,
      normLabel(a.norm),
      epsLabel(a.eps),
      percent(a.robustAccuracy),
      interval(a.robust),
      rate(a.imagesPerSecond),
      String(a.gradientCalls),
    ]),
    // Where several attacks share a radius, what withstands all of them.
    ...result.worstCase
      .filter(({ attacks }) => attacks.length > 1)
      .map((w) => [
        'worst case',
        normLabel(w.norm),
        epsLabel(w.eps),
        percent(w.robustAccuracy),
        interval(w.robust),
        '',
        '',
      ]),
  ]
  const widths = head.map((title, c) => Math.max(title.length, ...rows.map((row) => row[c].length)))
  const line = (row: string[]): string =>
    row
      .map((cell, c) => (c < 3 ? cell.padEnd(widths[c]) : cell.padStart(widths[c])))
      .join('  ')
      .trimEnd()
  return `${[line(head), line(widths.map((width) => '-'.repeat(width))), ...rows.map(line)].join('\n')}\n${result.samples} images, seed ${result.seed}\n`
}

const normLabel = (norm: 'linf' | 'l2'): string => (norm === 'linf' ? 'Linf' : 'L2')
const interval = ({ low, high }: Proportion): string => `${(100 * low).toFixed(1)}–${(100 * high).toFixed(1)}`
