import type { AttackOutcome, EvaluationResult, Proportion } from '../evaluate/index.js'
import { epsLabel } from './eps-label.js'
import { escapeHtml, grouped, interval, normName, percent, rate } from './markup.js'

const HEAD = ['attack', 'norm', 'ε', 'steps', 'accuracy', '', '95 % interval', 'gradients', 'seconds', 'images/s']

/** A line for the clean images and one for every attack and ε, in the order of the run. */
export function accuracyTable(result: EvaluationResult): string {
  const { clean, samples, attacks } = result
  const cleanCells = ['', '', '', ...accuracy(clean), '', clean.seconds.toFixed(1), rate(samples / clean.seconds)]
  const rows = [
    row('clean', cleanCells, 'first'),
    ...attacks.map((attack, i) =>
      row(attack.name, cells(attack), attack.name === attacks[i - 1]?.name ? 'again' : 'first'),
    ),
  ]
  const head = HEAD.map((text) => (text === '' ? '<td></td>' : `<th scope="col">${text}</th>`)).join('')
  return `<div class="scroll" tabindex="0" role="region" aria-label="Accuracy of every attack"><table><thead><tr>${head}</tr></thead>
<tbody>${rows.join('\n')}</tbody></table></div>`
}

const row = (name: string, cells: readonly string[], kind: string): string =>
  `<tr class="${kind}"><th scope="row">${escapeHtml(name)}</th>${cells.map((cell) => `<td>${cell}</td>`).join('')}</tr>`

const cells = (attack: AttackOutcome): string[] => [
  normName(attack.norm),
  epsLabel(attack.eps),
  attack.restarts > 1 ? `${attack.steps} × ${attack.restarts}` : String(attack.steps),
  ...accuracy(attack.robust),
  grouped(attack.gradientCalls),
  attack.seconds.toFixed(1),
  rate(attack.imagesPerSecond),
]

function accuracy(share: Proportion): string[] {
  const [low, at, high] = [share.low, share.accuracy, share.high].map((value) => (100 * value).toFixed(1))
  const bar = `<i class="range" style="--low:${low}%;--at:${at}%;--high:${high}%"></i>`
  return [`<b>${percent(share.accuracy)}</b>`, bar, interval(share)]
}
