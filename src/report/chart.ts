import { escapeHtml, percent } from './markup.js'

export interface Series {
  readonly name: string
  readonly points: readonly {
    readonly x: number
    readonly y: number
    readonly low?: number
    readonly high?: number
    readonly label: string
  }[]
}

export interface ChartOptions {
  readonly title: string
  readonly xLabel: string
  /** Labelled positions of the x axis. */
  readonly ticks: readonly { readonly x: number; readonly label: string }[]
  /** Log of 1 + x: for steps, where the first few matter most. */
  readonly logarithmic?: boolean
}

const WIDTH = 520
const HEIGHT = 300
const LEFT = 46
const RIGHT = 14
const TOP = 12
const BOTTOM = 44

/** A line chart of shares (0 to 100 %) as inline SVG: crisp in print, needs no script; points carry their values as hover text. */
export function lineChart(series: readonly Series[], options: ChartOptions): string {
  const scale = (x: number): number => (options.logarithmic ? Math.log(1 + x) : x)
  const xs = [
    ...series.flatMap(({ points }) => points.map(({ x }) => scale(x))),
    ...options.ticks.map(({ x }) => scale(x)),
  ]
  const [low, high] = [Math.min(...xs), Math.max(...xs)]
  const px = (x: number): string => (LEFT + ((scale(x) - low) / (high - low || 1)) * (WIDTH - LEFT - RIGHT)).toFixed(1)
  const py = (y: number): string => (TOP + (1 - y) * (HEIGHT - TOP - BOTTOM)).toFixed(1)
  const grid = [0, 0.25, 0.5, 0.75, 1]
    .map(
      (y) =>
        `<line class="grid" x1="${LEFT}" x2="${WIDTH - RIGHT}" y1="${py(y)}" y2="${py(y)}"/><text x="${LEFT - 8}" y="${py(y)}" dy="0.35em" text-anchor="end">${100 * y} %</text>`,
    )
    .join('')
  const ticks = options.ticks
    .map(
      ({ x, label }) =>
        `<text x="${px(x)}" y="${HEIGHT - BOTTOM + 18}" text-anchor="middle">${escapeHtml(label)}</text>`,
    )
    .join('')
  const lines = series
    .map(({ name, points }, i) => {
      const colour = `class="s${i % 6}"`
      const bars = points
        .filter((p) => p.low !== undefined && p.high !== undefined)
        .map(
          (p) =>
            `<line ${colour} x1="${px(p.x)}" x2="${px(p.x)}" y1="${py(p.low ?? p.y)}" y2="${py(p.high ?? p.y)}" stroke-opacity="0.4" stroke-width="5"/>`,
        )
      const path = points.map((p, k) => `${k === 0 ? 'M' : 'L'}${px(p.x)} ${py(p.y)}`).join('')
      const dots = points.map(
        (p) =>
          `<circle ${colour} cx="${px(p.x)}" cy="${py(p.y)}" r="3.2"><title>${escapeHtml(`${name}, ${p.label}: ${percent(p.y)}`)}</title></circle>`,
      )
      return `${bars.join('')}<path ${colour} d="${path}" fill="none" stroke-width="2"/>${dots.join('')}`
    })
    .join('')
  const legend = series
    .map(({ name }, i) => `<span class="key"><i class="s${i % 6}"></i>${escapeHtml(name)}</span>`)
    .join('')
  return `<figure><figcaption>${escapeHtml(options.title)}</figcaption>
<svg viewBox="0 0 ${WIDTH} ${HEIGHT}" role="img" aria-label="${escapeHtml(options.title)}">${grid}${ticks}
<text x="${(LEFT + WIDTH - RIGHT) / 2}" y="${HEIGHT - 6}" text-anchor="middle">${escapeHtml(options.xLabel)}</text>${lines}</svg><div class="legend">${legend}</div></figure>`
}
