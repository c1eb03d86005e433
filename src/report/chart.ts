import { escapeHtml, percent } from './markup.js'

export interface Point {
  readonly x: number
  /** A share, 0 to 1. */
  readonly y: number
  readonly low?: number
  readonly high?: number
  /** What the point stands for, shown with its value on hover. */
  readonly label: string
}

export interface Series {
  /** Written at the end of the line. */
  readonly name: string
  /** Index of the colour in the page's palette. */
  readonly colour: number
  /** 0 to 1; default 1. */
  readonly strength?: number
  readonly points: readonly Point[]
}

export interface ChartOptions {
  readonly title: string
  readonly xLabel: string
  /** Labelled positions of the x axis, from left to right. */
  readonly ticks: readonly { readonly x: number; readonly label: string }[]
  /** Log of 1 + x: for steps, where the first few matter most. */
  readonly logarithmic?: boolean
}

/** Colours in the palette of the style sheet; they repeat beyond. */
export const COLOURS = 6

const WIDTH = 520
const HEIGHT = 300
const LEFT = 46
const RIGHT = 88
const TOP = 12
const BOTTOM = 44
/** Between the baselines of two labels, and between two ticks. */
const LABEL_HEIGHT = 14
const TICK_WIDTH = 42
/** Lines of more points than this are drawn without dots. */
const MOST_DOTS = 12

/** A line chart of shares (0 to 100 %) as inline SVG: crisp in print, needs no script; points carry their values as hover text. */
export function lineChart(series: readonly Series[], options: ChartOptions): string {
  const scale = (x: number): number => (options.logarithmic ? Math.log(1 + x) : x)
  const xs = [...series.flatMap(({ points }) => points), ...options.ticks].map(({ x }) => scale(x))
  const [low, high] = [Math.min(...xs), Math.max(...xs)]
  const px = (x: number): number => LEFT + ((scale(x) - low) / (high - low || 1)) * (WIDTH - LEFT - RIGHT)
  const py = (y: number): number => TOP + (1 - y) * (HEIGHT - TOP - BOTTOM)
  const ends = spread(series.map(({ points }) => py(points[points.length - 1].y)))
  const parts = [
    ...[0, 0.25, 0.5, 0.75, 1].map(
      (y) =>
        `<line class="grid" x1="${LEFT}" x2="${WIDTH - RIGHT}" y1="${f(py(y))}" y2="${f(py(y))}"/><text x="${LEFT - 8}" y="${f(py(y))}" dy="0.35em" text-anchor="end">${100 * y} %</text>`,
    ),
    ...readable(options.ticks.map(({ x, label }) => ({ x: px(x), label }))).map(
      ({ x, label }) =>
        `<text x="${f(x)}" y="${HEIGHT - BOTTOM + 18}" text-anchor="middle">${escapeHtml(label)}</text>`,
    ),
    `<text x="${(LEFT + WIDTH - RIGHT) / 2}" y="${HEIGHT - 6}" text-anchor="middle">${escapeHtml(options.xLabel)}</text>`,
    ...series.map((line, i) => drawn(line, px, py, ends[i])),
  ]
  const title = escapeHtml(options.title)
  const summary = series.map(({ name, points }) => `${name}: ${percent(points[points.length - 1].y)}`).join('; ')
  return `<figure><figcaption>${title}</figcaption>
<svg viewBox="0 0 ${WIDTH} ${HEIGHT}" role="img" aria-label="${title}; at the end ${escapeHtml(summary)}">${parts.join('\n')}</svg></figure>`
}

function drawn(series: Series, px: (x: number) => number, py: (y: number) => number, labelY: number): string {
  const { name, points, strength = 1 } = series
  const style = `class="s${series.colour % COLOURS}"`
  const bars = points.map(({ x, y, low = y, high = y }) =>
    low === high
      ? ''
      : `<line x1="${f(px(x))}" x2="${f(px(x))}" y1="${f(py(low))}" y2="${f(py(high))}" stroke-opacity="0.3" stroke-width="5"/>`,
  )
  const path = points.map(({ x, y }, k) => `${k === 0 ? 'M' : 'L'}${f(px(x))} ${f(py(y))}`).join('')
  // The invisible ring makes the point easy to hit.
  const dots = points.map(
    ({ x, y, label }) =>
      `<circle cx="${f(px(x))}" cy="${f(py(y))}" r="${points.length > MOST_DOTS ? 1.6 : 3}" stroke-width="12" stroke-opacity="0"><title>${escapeHtml(`${name}, ${label}: ${percent(y)}`)}</title></circle>`,
  )
  const end = px(points[points.length - 1].x) + 8
  return `<g ${style} opacity="${f(strength)}">${bars.join('')}<path d="${path}"/>${dots.join('')}</g><text class="name s${series.colour % COLOURS}" x="${f(end)}" y="${f(labelY)}" dy="0.35em">${escapeHtml(name)}</text>`
}

const f = (value: number): string => String(Number(value.toFixed(1)))

/** Moves the labels of line ends apart, keeping their order and staying in the chart as long as they fit. */
function spread(wanted: readonly number[]): number[] {
  const order = wanted.map((_, i) => i).sort((a, b) => wanted[a] - wanted[b])
  const placed = [...wanted]
  for (const [rank, i] of order.entries())
    if (rank > 0) placed[i] = Math.max(placed[i], placed[order[rank - 1]] + LABEL_HEIGHT)
  let bottom = HEIGHT - BOTTOM
  for (const i of order.reverse()) {
    placed[i] = Math.min(placed[i], bottom)
    bottom = placed[i] - LABEL_HEIGHT
  }
  return placed
}

/** Drops ticks whose labels would touch; the last one always stays. */
function readable<T extends { readonly x: number }>(ticks: readonly T[]): T[] {
  const kept: T[] = []
  for (const tick of [...ticks].reverse())
    if (kept.length === 0 || kept[kept.length - 1].x - tick.x >= TICK_WIDTH) kept.push(tick)
  return kept
}
