import { type BlockGroup, collapse } from './collapse.js'
import { describeProperties, selfContained } from './phrases.js'
import type { InspectedTensor, InspectResult } from './result.js'

const WIDTH = 100
/** Three columns of figures on the right. */
const FIGURE = 10
const TEXT = WIDTH - 3 * FIGURE

/** The result as a tree for a terminal, at most 100 columns wide, ending in a line break. */
export function renderInspect(result: InspectResult): string {
  const { totals, nodes } = result
  const lines = [
    result.file,
    ...wrap('  producer   ', `${result.producer || 'unknown'}; opset ${result.opset}, IR version ${result.irVersion}`),
    ...wrap('  input      ', showTensor(result.input)),
    ...result.outputs.flatMap((output) => wrap('  output     ', showTensor(output))),
    ...(result.classes === undefined ? [] : [`  classes    ${result.classes}`]),
    ...result.notes.flatMap((note) => wrap('  note       ', note)),
    ...wrap(
      '  nodes      ',
      `${nodes.file} in the file, ${nodes.folded} after folding, ${nodes.canonical} in canonical form`,
    ),
    '',
    row('for one image', ['FLOPs', 'params', 'kept']),
    ...collapse(result.blocks).flatMap((group) => renderGroup(group, 0)),
    row('total', [showCount(totals.flops), showCount(totals.parameters), showBytes(totals.keptBytes)]),
    '',
    ...wrap(
      '',
      `FLOPs: a multiply-add counts two. kept: activations the gradient to the image needs again. ` +
        `A forward pass alone needs ${showBytes(totals.peakBytes)} at its peak.`,
    ),
    '',
    ...renderUnrecognised(result),
    ...wrap('operators of the file: ', showHistogram(result.operators)),
  ]
  return `${lines.join('\n')}\n`
}

function renderGroup(group: BlockGroup, depth: number): string[] {
  const title = group.count > 1 ? `${group.count} x ${group.kind}` : group.kind
  const figures = [showCount(group.flops), showCount(group.parameters), showBytes(group.keptBytes)]
  const indent = '  '.repeat(depth + 1)
  const [first, ...rest] = fold(`${title}${describeProperties(group)}`, TEXT - indent.length - 1)
  const children = selfContained.has(group.kind) ? [] : foldRepeated(group.children)
  return [
    row(indent + first, figures),
    ...rest.map((line) => `${indent}  ${line}`),
    ...children.flatMap((child) => renderGroup(child, depth + 1)),
  ]
}

/** Children that stand side by side and read alike become one line: two convolutions of the same size. */
function foldRepeated(groups: readonly BlockGroup[]): BlockGroup[] {
  const out: BlockGroup[] = []
  for (const group of groups) {
    const last = out.at(-1)
    if (
      last !== undefined &&
      last.kind === group.kind &&
      describeProperties(last) === describeProperties(group) &&
      last.children.length === 0 &&
      group.children.length === 0
    )
      out[out.length - 1] = {
        ...last,
        count: last.count + group.count,
        flops: last.flops + group.flops,
        parameters: last.parameters + group.parameters,
        keptBytes: last.keptBytes + group.keptBytes,
      }
    else out.push(group)
  }
  return out
}

function renderUnrecognised({ unrecognised }: InspectResult): string[] {
  if (unrecognised.length === 0) return ['every node on the way of the image is part of a known block']
  const counts = new Map<string, number>()
  for (const { op } of unrecognised) counts.set(op, (counts.get(op) ?? 0) + 1)
  const list = unrecognised.slice(0, 12).map(({ op, name, shape }) => `  ${op} ${name} [${shape.join(',')}]`)
  return [
    ...wrap('not recognised (runs all the same): ', showHistogram(Object.fromEntries(counts))),
    ...list.map((line) => (line.length > WIDTH ? `${line.slice(0, WIDTH - 1)}…` : line)),
    ...(unrecognised.length > list.length ? [`  … and ${unrecognised.length - list.length} more`] : []),
  ]
}

const showTensor = ({ name, dtype, shape }: InspectedTensor): string => `${name} ${dtype} [${shape.join(',')}]`

const showHistogram = (counts: Readonly<Record<string, number>>): string =>
  Object.entries(counts)
    .map(([op, count]) => `${op} ${count}`)
    .join(', ')

function showCount(count: number): string {
  for (const [size, unit] of [
    [1e12, ' T'],
    [1e9, ' G'],
    [1e6, ' M'],
    [1e3, ' k'],
  ] as const)
    if (count >= size) return `${digits(count / size)}${unit}`
  return count === 0 ? '-' : String(count)
}

function showBytes(bytes: number): string {
  for (const [size, unit] of [
    [2 ** 30, ' GiB'],
    [2 ** 20, ' MiB'],
    [2 ** 10, ' KiB'],
  ] as const)
    if (bytes >= size) return `${digits(bytes / size)}${unit}`
  return bytes === 0 ? '-' : `${bytes} B`
}

const digits = (value: number): string => (value >= 99.95 ? value.toFixed(0) : value.toPrecision(3))

const row = (text: string, figures: readonly string[]): string =>
  text.padEnd(TEXT) + figures.map((figure) => figure.padStart(FIGURE)).join('')

/** `text` behind `label`, further lines indented to it. */
function wrap(label: string, text: string): string[] {
  return fold(text, WIDTH - label.length).map((line, i) => (i === 0 ? label : ' '.repeat(label.length)) + line)
}

/** Breaks at spaces; a word longer than a line is cut. */
function fold(text: string, width: number): string[] {
  const lines: string[] = []
  let line = ''
  for (let word of text.split(' ')) {
    if (line !== '' && line.length + 1 + word.length > width) {
      lines.push(line)
      line = ''
    }
    while (word.length > width) {
      lines.push(word.slice(0, width))
      word = word.slice(width)
    }
    line = line === '' ? word : `${line} ${word}`
  }
  return [...lines, line]
}
