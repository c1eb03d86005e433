import {
  type Dim,
  type Graph,
  intAttribute,
  intsAttribute,
  type Node,
  sameShape,
  type Value,
} from '../../graph/index.js'
import { type Chain, constantMatrix, type Uses } from './chains.js'
import { reshapes } from './functions.js'
import type { Lowering } from './lowering.js'
import { PlanBuffer } from './program.js'
import { coversBuffer, elementsOf, inMemoryOrder, merged, shapeOf, strideOf, times, type View } from './view.js'

/** Columns of a row for which there is one pair of statistics: kStatisticsColumns of native/cuda/kernels/kernels.h. */
const STATISTICS_COLUMNS = 64
const partsOf = (columns: number): number => Math.ceil(columns / STATISTICS_COLUMNS)

/**
 * A LayerNorm that no kernel computes. The products that read it multiply x itself and normalise the result,
 * LN(x)·W = rstd·(x·W − mean·1ᵀW); mean and rstd of a row come from statistics that the product which made x left beside it. Its gradient is
 * the end of the product before it, or a kernel that starts from x.
 */
export interface FoldedNorm {
  readonly x: Value
  readonly columns: number
  readonly rms: boolean
  readonly epsilon: number
}

/**
 * The rule: a LayerNorm is folded where nothing but products with constant matrices reads it (and its own gradient). What reads it through
 * a change of the rows' order, a window partition, keeps the separate kernel.
 */
export function foldedNorms(nodes: Graph['nodes'], uses: Uses, kept: ReadonlySet<Value>): Map<Value, FoldedNorm> {
  const found = new Map<Value, FoldedNorm>()
  for (const node of nodes) {
    if (node.op !== 'signstep.LayerNorm') continue
    const [y] = node.outputs
    const [x] = node.inputs as Value[]
    const columns = y.shape.at(-1)
    if (typeof columns !== 'number' || x.constant !== undefined) continue
    const { attributes } = node
    if (readByProducts(y, columns, uses, kept))
      found.set(y, {
        x,
        columns,
        rms: intAttribute(attributes, 'rms', 0) === 1,
        epsilon: intAttribute(attributes, 'epsilon', 1e-5),
      })
  }
  return found
}

function readByProducts(y: Value, columns: number, uses: Uses, kept: ReadonlySet<Value>): boolean {
  const users = uses.get(y) ?? []
  if (kept.has(y) || users.length === 0) return false
  return users.every((user) => {
    if (user.op === 'signstep.LayerNormBackward') return user.inputs[1] === y && user.inputs[0] !== y
    if (reshapes.has(user.op))
      return user.outputs[0].shape.at(-1) === columns && readByProducts(user.outputs[0], columns, uses, kept)
    return user.inputs[0] === y && constantMatrix(user) !== undefined
  })
}

/** Where rows come from: the value before changes of layout that leave them whole. */
export function rowSource(value: Value): Value {
  let source = value
  for (;;) {
    const node: Node | undefined = source.producer
    const inner = node?.inputs[0]
    if (node === undefined || inner === undefined || inner.constant !== undefined) return source
    if (inner.shape.length < 2 || inner.shape.at(-1) !== value.shape.at(-1)) return source
    const perm = intsAttribute(node.attributes, 'perm')
    const rows = node.op === 'Transpose' && perm !== undefined && perm.at(-1) === perm.length - 1
    if (!rows && !reshapes.has(node.op)) return source
    source = inner
  }
}

/** The gradient of a folded LayerNorm as the end of a product. */
export interface NormGradient {
  readonly norm: FoldedNorm
  readonly node: Node
  /** The product that reads the LayerNorm; this one has the same weights the other way round. */
  readonly forward: Chain
  /** The chain without it, for where the rows turn out to lie otherwise. */
  readonly plain: Chain
}

/**
 * dy·W that ends in the gradient of a folded LayerNorm, and in the addition of another gradient of x where there is one. The epilogue needs
 * sum(dy·(y − bias)) of each row, y = LN(x)·Wᵀ + bias, which the derivative of an activation that made dy from y leaves beside it.
 *
 * Elsewhere the separate kernel is cheaper: behind an attention the dots of q, k, v and their gradients would take a kernel of their own
 * that reads both, 12 bytes a row and channel of x in 16 bits, and this end 6 more; a product that stores its result (2) and the separate
 * kernel (8) move 10.
 */
export function withNormGradient(
  chain: Chain,
  context: {
    readonly rows: FoldedRows
    /** The chains so far, by the source of their output's rows. */
    readonly chains: ReadonlyMap<Value, Chain>
    readonly uses: Uses
    readonly kept: ReadonlySet<Value>
    readonly taken: ReadonlySet<Node>
  },
): Chain {
  const { rows, chains, uses, kept, taken } = context
  const alone = (value: Value): Node | undefined => {
    const [user, ...more] = uses.get(value) ?? []
    return more.length > 0 || kept.has(value) || user === undefined || taken.has(user) ? undefined : user
  }
  const plain = chain.epilogue === 'store' && !chain.bias && !chain.scale && !chain.table && !chain.residual
  const node = alone(chain.output)
  if (!plain || node?.op !== 'signstep.LayerNormBackward' || node.inputs[0] !== chain.output) return chain
  const norm = rows.norms.get(node.inputs[1] as Value)
  const before = chains.get(rowSource(chain.a))
  if (norm === undefined || !before?.epilogue.endsWith('_backward') || before.aux === undefined) return chain
  const forward = chains.get(rowSource(before.aux))
  if (forward === undefined || forward.scale !== undefined || rows.normOf(forward.a) !== norm) return chain
  const [dx] = node.outputs
  const add = alone(dx)
  const other = add?.op === 'Add' ? add.inputs.find((input) => input !== dx) : undefined
  const adds = add !== undefined && other !== undefined && !other.constant && sameShape(other.shape, dx.shape)
  rows.dotsWanted.set(before.output, forward)
  return {
    ...chain,
    nodes: adds ? [...chain.nodes, node, add] : [...chain.nodes, node],
    output: adds ? add.outputs[0] : dx,
    epilogue: 'norm_backward',
    residual: adds ? other : undefined,
    normGradient: { norm, node, forward, plain: chain },
  }
}

/** What products leave beside their results for the LayerNorms they are folded with, by the buffers that hold these. */
export class FoldedRows {
  readonly norms: ReadonlyMap<Value, FoldedNorm>
  /** By the gradient of a product's output: that product. Its dots, sum(dy·(y − bias)), are wanted. */
  readonly dotsWanted = new Map<Value, Chain>()
  private readonly statistics = new Map<PlanBuffer, PlanBuffer>()
  private readonly dots = new Map<PlanBuffer, { buffer: PlanBuffer; parts: number }>()
  private readonly sources: ReadonlyMap<Value, FoldedNorm>

  constructor(norms: ReadonlyMap<Value, FoldedNorm>) {
    this.norms = norms
    this.sources = new Map([...norms.values()].map((norm) => [rowSource(norm.x), norm]))
  }

  normOf(value: Value): FoldedNorm | undefined {
    let source = value
    while (source.producer !== undefined && reshapes.has(source.producer.op))
      source = source.producer.inputs[0] ?? source
    return this.norms.get(source)
  }

  /** The statistics that a product of n columns leaves of its output, where a folded LayerNorm reads them. */
  left(output: Value, buffer: PlanBuffer, n: number): { buffer: PlanBuffer; rms: boolean } | undefined {
    const norm = this.sources.get(rowSource(output))
    if (norm === undefined || norm.columns !== n) return undefined
    const own = new PlanBuffer('float32', statisticsSize(buffer.elements, n))
    this.statistics.set(buffer, own)
    return { buffer: own, rms: norm.rms }
  }

  leftDots(output: Value, buffer: PlanBuffer, rows: Dim, n: number): PlanBuffer | undefined {
    if (!this.dotsWanted.has(output)) return undefined
    const own = { buffer: new PlanBuffer('float32', times(rows, partsOf(n))), parts: partsOf(n) }
    this.dots.set(buffer, own)
    return own.buffer
  }
  dotsOf(view: View): { buffer: PlanBuffer; parts: number } | undefined {
    return coversBuffer(view) ? this.dots.get(view.buffer) : undefined
  }

  /** Statistics of rows that lie whole in their buffer, in the order of memory. */
  statisticsOf(lowering: Lowering, x: View, norm: FoldedNorm, name: string): PlanBuffer {
    let own = this.statistics.get(x.buffer)
    if (own === undefined) {
      const lead = shapeOf(x).slice(0, -1)
      own = new PlanBuffer('float32', statisticsSize(x.buffer.elements, norm.columns))
      this.statistics.set(x.buffer, own)
      const ints = [elementsOf(lead), norm.columns, norm.rms ? 1 : 0, inImageOrder(x) ? 1 : 0]
      lowering.step('row_statistics', name, [x.buffer, own], ints)
    }
    return own
  }
}

const statisticsSize = (elements: Dim, columns: number): Dim => {
  const rows = typeof elements === 'number' ? elements / columns : { factor: elements.factor / columns }
  return times(rows, 2 * partsOf(columns))
}

/** Rows that lie whole in their buffer, one after the other. */
export const hasWholeRows = (view: View): boolean => coversBuffer(view) && strideOf(view, view.axes.length - 1) === 1

/** Whether the rows of an image lie together. */
export function inImageOrder(view: View): boolean {
  const [outermost] = merged(inMemoryOrder(view.axes.slice(0, -1).flat()))
  return outermost !== undefined && typeof outermost.size !== 'number'
}
