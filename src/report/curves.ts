import type { AttackOutcome, EvaluationResult } from '../evaluate/index.js'
import { lineChart, type Series } from './chart.js'
import { epsLabel } from './eps-label.js'
import { normName } from './markup.js'

/** Accuracy against ε for each norm, then along the steps of each iterative attack, one line per ε. */
export function curves(result: EvaluationResult): string {
  const charts = [
    ...(['linf', 'l2'] as const).flatMap((norm) => {
      const attacks = result.attacks.filter((attack) => attack.norm === norm)
      return attacks.length === 0 ? [] : [againstEps(result, attacks)]
    }),
    ...[...groupByName(result.attacks.filter(({ stepsCurve = [] }) => stepsCurve.length > 2)).values()].map(alongSteps),
  ]
  return charts.length === 0 ? '' : `<h2>Curves</h2><div class="charts">${charts.join('')}</div>`
}

/** The attacks in the order of the run, those of one name together and by rising ε. */
export function groupByName(attacks: readonly AttackOutcome[]): Map<string, AttackOutcome[]> {
  const groups = new Map<string, AttackOutcome[]>()
  for (const attack of attacks) groups.set(attack.name, [...(groups.get(attack.name) ?? []), attack])
  for (const group of groups.values()) group.sort((a, b) => a.eps - b.eps)
  return groups
}

function againstEps({ clean }: EvaluationResult, attacks: readonly AttackOutcome[]): string {
  const series = [...groupByName(attacks)].map(
    ([name, group], colour): Series => ({
      name,
      colour,
      points: [
        { x: 0, y: clean.accuracy, low: clean.low, high: clean.high, label: 'clean' },
        ...group.map(({ eps, robust }) => ({
          x: eps,
          y: robust.accuracy,
          low: robust.low,
          high: robust.high,
          label: `ε ${epsLabel(eps)}`,
        })),
      ],
    }),
  )
  const radii = [...new Set(attacks.map(({ eps }) => eps))].sort((a, b) => a - b)
  return lineChart(series, {
    title: `Accuracy against ε, ${normName(attacks[0].norm)}`,
    xLabel: 'ε, with 95 % intervals',
    ticks: [{ x: 0, label: '0' }, ...radii.map((eps) => ({ x: eps, label: epsLabel(eps) }))],
  })
}

function alongSteps(group: readonly AttackOutcome[]): string {
  const [{ name }] = group
  const steps = Math.max(...group.map(({ stepsCurve = [] }) => stepsCurve.length - 1))
  const series = group.map(
    ({ eps, stepsCurve = [] }, i): Series => ({
      name: `ε ${epsLabel(eps)}`,
      colour: 0,
      // The larger ε, the stronger the line.
      strength: 0.4 + (0.6 * (i + 1)) / group.length,
      points: stepsCurve.map((y, x) => ({ x, y, label: `after ${x} ${x === 1 ? 'step' : 'steps'}` })),
    }),
  )
  const ticks = [0, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000].filter((x) => x < steps)
  return lineChart(series, {
    title: `Accuracy along the steps of ${name}`,
    xLabel: 'steps',
    ticks: [...ticks, steps].map((x) => ({ x, label: String(x) })),
    logarithmic: true,
  })
}
