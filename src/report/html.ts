import type { AttackOutcome, EvaluationResult, Example, Proportion } from '../evaluate/index.js'
import { lineChart, type Series } from './chart.js'
import { epsLabel } from './eps-label.js'
import { escapeHtml, percent } from './markup.js'
import { encodePng } from './png.js'
import { STYLE } from './style.js'

/** The whole report as one HTML page that needs no network: figures, curves, pictures, environment, the command to repeat it. */
export function renderReport(result: EvaluationResult, examples: readonly Example[]): string {
  const file = result.model.file.split(/[\\/]/).pop() ?? result.model.file
  const title = `${file}: robustness report`
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>${escapeHtml(title)}</title><style>${STYLE}</style></head><body>
<h1>${escapeHtml(file)}</h1>
<p class="lead">${result.samples} images of ${escapeHtml(result.data.path)}, ${result.model.classes} classes, seed ${result.seed}, ${escapeHtml(result.started.slice(0, 16).replace('T', ' '))} UTC</p>
${cards(result)}
${warningsBox(result.warnings)}
<h2>Accuracy</h2>
${table(result)}
${charts(result)}
${pictures(result, examples)}
<h2>Repeat this run</h2>
<pre>${escapeHtml(result.command)}</pre>
<h2>Environment</h2>
${environment(result)}
</body></html>
`
}

function cards(result: EvaluationResult): string {
  const weakest = result.attacks.reduce<AttackOutcome | undefined>(
    (a, b) => (a === undefined || b.robustAccuracy < a.robustAccuracy ? b : a),
    undefined,
  )
  const gradients = result.attacks.reduce((sum, { gradientCalls }) => sum + gradientCalls, 0)
  const seconds = result.attacks.reduce((sum, attack) => sum + attack.seconds, 0)
  const entries: [string, string][] = [[percent(result.clean.accuracy), 'clean accuracy']]
  if (weakest)
    entries.push([
      percent(weakest.robustAccuracy),
      `robust accuracy, worst case: ${weakest.name} at ε ${epsLabel(weakest.eps)}`,
    ])
  if (gradients > 0)
    entries.push([
      (gradients / seconds).toFixed(gradients / seconds < 10 ? 1 : 0),
      `gradients a second, ${gradients} in ${seconds.toFixed(1)} s`,
    ])
  return `<div class="cards">${entries.map(([number, text]) => `<div class="card"><b>${number}</b><span>${escapeHtml(text)}</span></div>`).join('')}</div>`
}

function warningsBox(warnings: readonly string[]): string {
  if (warnings.length === 0) return ''
  return `<div class="warnings"><b>Before you trust these numbers</b><ul>${warnings.map((text) => `<li>${escapeHtml(text)}</li>`).join('')}</ul></div>`
}

function table(result: EvaluationResult): string {
  const share = (p: Proportion): string =>
    `<td class="share" style="--share:${(100 * p.accuracy).toFixed(1)}%">${percent(p.accuracy)}</td><td>${(100 * p.low).toFixed(1)}–${(100 * p.high).toFixed(1)} %</td>`
  const rows = result.attacks.map(
    (a) =>
      `<tr><td>${escapeHtml(a.name)}</td><td class="left">${a.norm === 'linf' ? 'L∞' : 'L2'}</td><td>${epsLabel(a.eps)}</td><td>${a.steps}${a.restarts > 1 ? ` × ${a.restarts}` : ''}</td>${share(a.robust)}<td>${a.gradientCalls}</td><td>${a.seconds.toFixed(1)}</td><td>${a.imagesPerSecond.toFixed(1)}</td></tr>`,
  )
  return `<div class="scroll"><table><thead><tr><th>attack</th><th class="left">norm</th><th>ε</th><th>steps</th><th>accuracy</th><th>95 % interval</th><th>gradients</th><th>seconds</th><th>images/s</th></tr></thead>
<tbody><tr><td>clean</td><td></td><td></td><td></td>${share(result.clean)}<td></td><td>${result.clean.seconds.toFixed(1)}</td><td>${(result.samples / result.clean.seconds).toFixed(1)}</td></tr>${rows.join('')}</tbody></table></div>`
}

function charts(result: EvaluationResult): string {
  const made: string[] = []
  for (const norm of ['linf', 'l2'] as const) {
    const mine = result.attacks.filter((attack) => attack.norm === norm)
    const radii = [...new Set(mine.map(({ eps }) => eps))].sort((a, b) => a - b)
    if (radii.length === 0) continue
    const series = [...new Set(mine.map(({ name }) => name))].map((name): Series => {
      const points = mine.filter((attack) => attack.name === name).sort((a, b) => a.eps - b.eps)
      return {
        name,
        points: [
          { x: 0, y: result.clean.accuracy, label: 'clean' },
          ...points.map(({ eps, robust }) => ({
            x: eps,
            y: robust.accuracy,
            low: robust.low,
            high: robust.high,
            label: `ε ${epsLabel(eps)}`,
          })),
        ],
      }
    })
    const ticks = [0, ...radii].map((eps) => ({ x: eps, label: eps === 0 ? '0' : epsLabel(eps) }))
    made.push(lineChart(series, { title: `Accuracy against ε, ${norm === 'linf' ? 'L∞' : 'L2'}`, xLabel: 'ε', ticks }))
  }
  const stepped = result.attacks.filter(({ stepsCurve }) => stepsCurve !== undefined && stepsCurve.length > 2)
  if (stepped.length > 0) {
    const longest = Math.max(...stepped.map(({ steps }) => steps))
    const series = stepped.map(
      ({ name, eps, stepsCurve }): Series => ({
        name: `${name}, ε ${epsLabel(eps)}`,
        points: (stepsCurve ?? []).map((y, x) => ({ x, y, label: `after ${x} steps` })),
      }),
    )
    const ticks = [0, 1, 2, 5, 10, 20, 50, 100, 200].filter((x) => x <= longest).map((x) => ({ x, label: String(x) }))
    made.push(
      lineChart(series, { title: 'Accuracy along the steps of each run', xLabel: 'steps', ticks, logarithmic: true }),
    )
  }
  return made.length === 0 ? '' : `<h2>Curves</h2><div class="charts">${made.join('')}</div>`
}

function pictures(result: EvaluationResult, examples: readonly Example[]): string {
  if (examples.length === 0) return ''
  const name = (label: number): string => result.data.classes[label] ?? `class ${label}`
  const image = (pixels: Float32Array, shape: Example['shape'], alt: string): string =>
    `<img alt="${escapeHtml(alt)}" src="data:image/png;base64,${encodePng(pixels, shape).toString('base64')}">`
  const blocks = examples.map((e) => {
    const largest = e.clean.reduce((max, value, i) => Math.max(max, Math.abs(e.adversarial[i] - value)), 0)
    // Grey is no change; the largest change of the image reaches the ends of the scale.
    const gain = largest === 0 ? 1 : 0.5 / largest
    const difference = e.clean.map((value, i) => 0.5 + (e.adversarial[i] - value) * gain)
    return `<div class="example"><div class="trio"><div>${image(e.clean, e.shape, 'clean image')}clean: <b>${escapeHtml(name(e.cleanPrediction))}</b></div>
<div>${image(e.adversarial, e.shape, 'adversarial image')}attacked: <b>${escapeHtml(name(e.prediction))}</b></div>
<div>${image(difference, e.shape, 'difference')}difference × ${gain.toFixed(0)}</div></div><p>${escapeHtml(e.file)}, ${escapeHtml(e.attack)} at ε ${epsLabel(e.eps)}</p></div>`
  })
  return `<h2>What fooled it</h2><div class="examples">${blocks.join('')}</div>`
}

function environment(result: EvaluationResult): string {
  const { environment: e, model } = result
  const { mean, std, scale, channelOrder } = model.preprocess
  const rows: [string, string][] = [
    ['model', `${model.file} (SHA-256 ${model.sha256.slice(0, 16)}…), input ${model.input.join(' × ')}`],
    [
      'preprocessing',
      mean.length + std.length === 0
        ? `scale ${scale}, ${channelOrder}`
        : `mean ${mean.join(', ')}; std ${std.join(', ')}; scale ${scale}; ${channelOrder}`,
    ],
    ['batch', String(result.batch)],
    ['signstep', `${e.signstep}, ${e.instructionSet} kernels`],
    ['backend', e.backend],
    ['processor', `${e.processor}, ${e.threads} used`],
    ['system', `${e.platform}, Node ${e.node}`],
  ]
  return `<dl>${rows.map(([term, text]) => `<dt>${term}</dt><dd>${escapeHtml(text)}</dd>`).join('')}</dl>`
}
