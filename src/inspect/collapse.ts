import type { InspectedBlock } from './result.js'

type Property = InspectedBlock['properties'][string]

/** Blocks that repeat, as one line of the tree. Costs are those of all of them. */
export interface BlockGroup {
  readonly count: number
  readonly kind: string
  /** Properties in which the blocks differ list each value once. */
  readonly properties: ReadonlyMap<string, readonly (Property | undefined)[]>
  readonly flops: number
  readonly parameters: number
  readonly keptBytes: number
  readonly children: readonly BlockGroup[]
}

/** Properties in which the blocks of one stage differ by design: every other window is shifted. */
const alternating = new Set(['shift', 'mask'])

/** Neighbours that read alike become one group. */
export function collapse(blocks: readonly InspectedBlock[]): BlockGroup[] {
  const runs: InspectedBlock[][] = []
  let last: string | undefined
  for (const block of blocks) {
    const signature = signatureOf(block)
    if (signature === last) runs[runs.length - 1].push(block)
    else runs.push([block])
    last = signature
  }
  return runs.map(merge)
}

function merge(run: readonly InspectedBlock[]): BlockGroup {
  const names = new Set(run.flatMap(({ properties }) => Object.keys(properties)))
  const total = (key: 'flops' | 'parameters' | 'keptBytes') => run.reduce((sum, block) => sum + block[key], 0)
  return {
    count: run.length,
    kind: run[0].kind,
    properties: new Map([...names].map((name) => [name, distinct(run.map(({ properties }) => properties[name]))])),
    flops: total('flops'),
    parameters: total('parameters'),
    keptBytes: total('keptBytes'),
    // Children of one block first, then those of its fellows at the same place.
    children: collapseColumns(run.map(({ children }) => children)),
  }
}

function collapseColumns(rows: readonly (readonly InspectedBlock[])[]): BlockGroup[] {
  const columns = rows[0].map((_, i) => merge(rows.map((row) => row[i])))
  return columns.map((column) => ({ ...column, count: column.count / rows.length }))
}

function distinct(values: readonly (Property | undefined)[]): (Property | undefined)[] {
  const seen = new Map(values.map((value) => [JSON.stringify(value), value]))
  return [...seen.values()]
}

function signatureOf(block: InspectedBlock): string {
  const properties = Object.entries(block.properties).filter(([name]) => !alternating.has(name))
  return JSON.stringify([block.kind, properties, block.children.map(signatureOf)])
}
