import { inflateSync } from 'node:zlib'
import { describe, expect, it } from 'vitest'
import { type EvaluationResult, type Example, proportion } from '#signstep/evaluate/index.js'
import { epsLabel, renderReport, renderTable } from '#signstep/report/index.js'

const result: EvaluationResult = {
  schema: 1,
  command: `signstep evaluate 'a <b>.onnx' --eps 4/255`,
  started: '2026-01-02T03:04:05.000Z',
  model: {
    file: 'dir/a <b>.onnx',
    sha256: 'f'.repeat(64),
    input: [3, 2, 2],
    classes: 2,
    preprocess: { mean: [0.5], std: [0.25], scale: 1, channelOrder: 'rgb' },
  },
  data: { path: 'set.zip', classes: ['cat & dog', 'bird'] },
  samples: 200,
  seed: 7,
  batch: 64,
  clean: { ...proportion(180, 200), seconds: 0.5 },
  attacks: [2, 4].map((e) => ({
    name: 'pgd-4',
    norm: 'linf',
    eps: e / 255,
    steps: 4,
    restarts: 1,
    robustAccuracy: 0.5 / e,
    robust: proportion(100 / e, 200),
    gradientCalls: 720,
    seconds: 2,
    imagesPerSecond: 100,
    meanLoss: 1,
    nanGradients: 0,
    zeroGradients: 0,
    stepsCurve: [0.9, 0.6, 0.4, 0.3, 0.5 / e],
  })),
  worstCase: [2, 4].map((e) => ({
    norm: 'linf',
    eps: e / 255,
    attacks: ['pgd-4'],
    robustAccuracy: 0.5 / e,
    robust: proportion(100 / e, 200),
  })),
  environment: {
    signstep: '0.1.0',
    node: 'v20',
    platform: 'linux-x64',
    processor: 'cpu',
    backend: 'runtime',
    instructionSet: 'avx2',
    threads: 2,
  },
  warnings: ['<script>alert(1)</script>'],
}
const example: Example = {
  index: 0,
  file: 'cat/1.png',
  shape: [3, 2, 2],
  clean: new Float32Array(12).fill(0.5),
  adversarial: Float32Array.from({ length: 12 }, (_, i) => (i < 4 ? 0.75 : 0.5)),
  label: 0,
  cleanPrediction: 0,
  prediction: 1,
  attack: 'pgd-4',
  eps: 4 / 255,
}

/** The pixels of an 8-bit RGB PNG whose rows carry no filter. */
function pixelsOf(png: Buffer): number[] {
  const width = png.readUInt32BE(16)
  const length = png.readUInt32BE(33)
  const rows = inflateSync(png.subarray(41, 41 + length))
  return [...rows].filter((_, i) => i % (1 + 3 * width) !== 0)
}

describe('the HTML report', () => {
  const page = renderReport(result, [example])

  it('needs no network: nothing is fetched by the page', () => {
    expect(page).not.toMatch(/(src|href)="(?!data:)/)
    expect(page).not.toMatch(/@import|url\(/)
  })

  it('escapes names and warnings', () => {
    expect(page).not.toContain('<script')
    expect(page).toContain('&#60;script&#62;')
    expect(page).toContain('a &#60;b&#62;.onnx')
    expect(page).toContain('cat &#38; dog')
  })

  it('shows every accuracy with its interval, and the command to repeat the run', () => {
    for (const text of ['90.0 %', '25.0 %', '12.5 %', '4/255', '2/255']) expect(page).toContain(text)
    const { low, high } = proportion(25, 200)
    expect(page).toContain(`${(100 * low).toFixed(1)}–${(100 * high).toFixed(1)} %`)
    expect(page).toContain('signstep evaluate &#39;a &#60;b&#62;.onnx&#39; --eps 4/255')
  })

  it('amplifies the difference so that the largest change reaches the end of the scale', () => {
    const images = [...page.matchAll(/data:image\/png;base64,([^"]+)/g)].map((match) =>
      pixelsOf(Buffer.from(match[1], 'base64')),
    )
    expect(images).toHaveLength(3)
    expect(images[0].every((value) => value === 128)).toBe(true)
    expect(images[1].slice(0, 3)).toEqual([191, 128, 128])
    expect(images[2].slice(0, 3)).toEqual([255, 128, 128])
  })

  it('heads with what withstands every attack of a radius', () => {
    const worstCase = [
      { norm: 'linf', eps: 2 / 255, attacks: ['fgsm', 'pgd-4'], robustAccuracy: 0.2, robust: proportion(40, 200) },
      { norm: 'linf', eps: 4 / 255, attacks: ['pgd-4'], robustAccuracy: 0.125, robust: proportion(25, 200) },
    ] as const
    const cards = renderReport({ ...result, worstCase }, []).split('<h2>')[0]
    const shown = [
      ...cards.matchAll(/class="card"><span>([^<]+)<\/span><b>([^<]+)<\/b>.*?<span>([^<]+)<\/span><\/div>/g),
    ]
    expect(shown.map(([, ...texts]) => texts)).toEqual([
      ['clean', '90.0 %', 'no attack'],
      ['ε 2/255', '20.0 %', 'worst case of 2 attacks'],
      ['ε 4/255', '12.5 %', 'pgd-4'],
    ])
  })

  it('draws every accuracy against ε and against steps, each with its value to hover over', () => {
    const [againstEps, alongSteps] = [...page.matchAll(/<figure><figcaption>(.*?)<\/figure>/gs)].map(([text]) => text)
    for (const text of ['pgd-4, clean: 90.0 %', 'pgd-4, ε 2/255: 25.0 %', 'pgd-4, ε 4/255: 12.5 %'])
      expect(againstEps).toContain(`<title>${text}</title>`)
    for (const text of ['ε 2/255, after 1 step: 60.0 %', 'ε 4/255, after 4 steps: 12.5 %'])
      expect(alongSteps).toContain(`<title>${text}</title>`)
  })

  it('does without curves, pictures and warnings where there are none', () => {
    const bare = renderReport({ ...result, attacks: [], worstCase: [], warnings: [] }, [])
    expect(bare.match(/<h2>[^<]+/g)).toEqual(['<h2>Accuracy', '<h2>Repeat this run', '<h2>Environment'])
    expect(bare).not.toMatch(/NaN|Infinity|undefined/)
  })

  it('is the same for the same result', () => {
    expect(renderReport(result, [example])).toBe(page)
  })
})

describe('the table for a terminal', () => {
  it('has a line for the clean images and one per attack and radius', () => {
    const lines = renderTable(result).split('\n')
    expect(lines[2]).toMatch(/^clean .*90\.0 %/)
    expect(lines[3]).toMatch(/^pgd-4 +Linf +2\/255 +25\.0 %/)
    expect(lines[4]).toMatch(/^pgd-4 +Linf +4\/255 +12\.5 %/)
  })
})

describe('a radius', () => {
  it.each([
    [8 / 255, '8/255'],
    [0.5 / 255, '0.5/255'],
    [Math.fround(4 / 255), '4/255'],
    [0.5, '0.5'],
    [0.03, '0.03'],
    [1, '1'],
  ])('of %d is written as %s', (eps, text) => expect(epsLabel(eps)).toBe(text))
})
