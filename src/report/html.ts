import type { EvaluationResult, Example, Proportion } from '../evaluate/index.js'
import { accuracyTable } from './accuracy-table.js'
import { curves } from './curves.js'
import { epsLabel } from './eps-label.js'
import { escapeHtml, grouped, interval, normName, percent, rate } from './markup.js'
import { pictures } from './pictures.js'
import { STYLE } from './style.js'

/**
 * The whole report as one HTML page that needs no network and no script: figures, curves, pictures, environment, the command
 * to repeat it. The same result gives the same page.
 */
export function renderReport(result: EvaluationResult, examples: readonly Example[]): string {
  const file = escapeHtml(baseName(result.model.file))
  const started = `${result.started.slice(0, 10)}, ${result.started.slice(11, 16)} UTC`
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>${file}: robustness report</title><style>${STYLE}</style></head><body><main>
<header><p class="kicker">Robustness report</p><h1>${file}</h1>
<p class="lead">${grouped(result.samples)} images of ${escapeHtml(baseName(result.data.path))} · ${grouped(result.model.classes)} classes · seed ${result.seed} · ${escapeHtml(started)}</p></header>
${headline(result)}
${warningsBox(result.warnings)}
<h2>Accuracy</h2>
${accuracyTable(result)}
${curves(result)}
${pictures(result, examples)}
<h2>Repeat this run</h2>
<pre><code>${escapeHtml(result.command)}</code></pre>
<h2>Environment</h2>
${environment(result)}
</main></body></html>
`
}

/** The most radii in the headline; the table has all. */
const MOST_CARDS = 4

/** Clean accuracy, and for each ε what is left when every attack counts: the per-point union. */
function headline({ clean, worstCase }: EvaluationResult): string {
  const norms = new Set(worstCase.map(({ norm }) => norm))
  const largest = [...worstCase].sort((a, b) => a.eps - b.eps).slice(-MOST_CARDS)
  const robust = [...norms].flatMap((norm) => largest.filter((entry) => entry.norm === norm))
  const cards = [
    card('clean', clean, 'no attack'),
    ...robust.map(({ norm, eps, robust: share, attacks }) =>
      card(
        `${norms.size > 1 ? `${normName(norm)}, ` : ''}ε ${epsLabel(eps)}`,
        share,
        attacks.length > 1 ? `worst case of ${attacks.length} attacks` : attacks[0],
      ),
    ),
  ]
  return `<div class="cards">${cards.join('')}</div>`
}

const card = (title: string, share: Proportion, note: string): string =>
  `<div class="card"><span>${title}</span><b>${percent(share.accuracy)}</b><span>${interval(share)}</span><span>${escapeHtml(note)}</span></div>`

function warningsBox(warnings: readonly string[]): string {
  if (warnings.length === 0) return ''
  return `<aside class="warnings"><b>Before you trust these numbers</b><ul>${warnings.map((text) => `<li>${escapeHtml(text)}</li>`).join('')}</ul></aside>`
}

function environment({ environment: e, model, data, batch, attacks }: EvaluationResult): string {
  const { mean, std, scale, channelOrder } = model.preprocess
  const moments = mean.length + std.length === 0 ? [] : [`mean ${mean.join(', ')}`, `std ${std.join(', ')}`]
  const gradients = attacks.reduce((sum, { gradientCalls }) => sum + gradientCalls, 0)
  const seconds = attacks.reduce((sum, attack) => sum + attack.seconds, 0)
  const rows: [string, string][] = [
    ['model', `${model.file}, input ${model.input.join(' × ')}`],
    ['SHA-256', model.sha256],
    ['preprocessing', [...moments, `scale ${scale}`, channelOrder].join('; ')],
    ['data', data.path],
    ['batch', String(batch)],
    ['work', `${grouped(gradients)} gradients in ${seconds.toFixed(1)} s, ${rate(gradients / seconds)} a second`],
    ['signstep', `${e.signstep}, ${e.instructionSet} kernels`],
    ['backend', e.backend],
    ['processor', `${e.processor}, ${e.threads} used`],
    ['system', `${e.platform}, Node ${e.node}`],
  ]
  return `<dl>${rows.map(([term, text]) => `<dt>${term}</dt><dd>${escapeHtml(text)}</dd>`).join('')}</dl>`
}

const baseName = (path: string): string => path.split(/[\\/]/).filter(Boolean).pop() ?? path
