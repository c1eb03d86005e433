import type { EvaluationResult, Example } from '../evaluate/index.js'
import { epsLabel } from './eps-label.js'
import { escapeHtml } from './markup.js'
import { encodePng } from './png.js'

/** Images before and after the attack that fooled the model, beside the difference between them. */
export function pictures({ data }: EvaluationResult, examples: readonly Example[]): string {
  if (examples.length === 0) return ''
  const name = (label: number): string => escapeHtml(data.classes[label] ?? `class ${label}`)
  const blocks = examples.map((example) => {
    const { shape, clean, adversarial, file, attack, eps } = example
    const { pixels, gain } = difference(clean, adversarial)
    const [before, after] = [name(example.cleanPrediction), name(example.prediction)]
    return `<figure class="example"><div class="trio">
${picture(clean, shape, 'clean', `clean, seen as ${before}`)}
${picture(adversarial, shape, 'attacked', `attacked, seen as ${after}`)}
${picture(pixels, shape, `difference × ${gain.toFixed(0)}`, 'difference, amplified')}
</div><figcaption><b>${before}</b> became <b class="wrong">${after}</b><small>${escapeHtml(file)} · ${escapeHtml(attack)}, ε ${epsLabel(eps)}</small></figcaption></figure>`
  })
  return `<h2>What fooled it</h2><div class="examples">${blocks.join('\n')}</div>`
}

function picture(pixels: Float32Array, shape: Example['shape'], caption: string, alt: string): string {
  const source = `data:image/png;base64,${encodePng(pixels, shape).toString('base64')}`
  // Small images are shown with their pixels, large ones smoothly.
  const kind = shape[2] < 96 ? ' class="pixelated"' : ''
  return `<div><img${kind} alt="${alt}" src="${source}">${caption}</div>`
}

/** Grey is no change; the largest change of the image reaches the ends of the scale. */
function difference(clean: Float32Array, adversarial: Float32Array): { pixels: Float32Array; gain: number } {
  const largest = clean.reduce((max, value, i) => Math.max(max, Math.abs(adversarial[i] - value)), 0)
  const gain = largest === 0 ? 1 : 0.5 / largest
  return { pixels: clean.map((value, i) => 0.5 + (adversarial[i] - value) * gain), gain }
}
