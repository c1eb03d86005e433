import { type Dim, divideDims, intsAttribute, isBatch, type Node, type Value } from '../../graph/index.js'
import type { Tensor } from '../../tensor/index.js'
import type { Chain } from './chains.js'
import type { FoldedNorm } from './folded-norms.js'
import { reshapes } from './functions.js'
import { layerNormBackward, normalised } from './lower-math.js'
import { floats, type Lowering, uncovered } from './lowering.js'
import { type Epilogue, epilogues, PlanBuffer } from './program.js'
import {
  broadcast,
  coversBuffer,
  elementsOf,
  inMemoryOrder,
  isDense,
  isWhole,
  merged,
  reshaped,
  rowMapOf,
  shapeOf,
  sliced,
  strideOf,
  times,
  transposed,
  type View,
  viewOf,
} from './view.js'

/** One gemm step for a chain. `toImage`: its output is the image gradient. */
export function lowerProduct(lowering: Lowering, chain: Chain, toImage: boolean): void {
  const { constants, ends, folded } = lowering
  const { root, output, prefix, table, normGradient } = chain
  const [first, second] = chain.matrix.shape as [number, number]
  const n = chain.n
  const k = chain.transposedB ? second : first
  const name = root.name

  const fixedOrder = prefix !== undefined || table !== undefined || toImage || output === lowering.logits
  const { a: given, norm } = rowsOf(lowering, chain)
  let a = lowering.isValue(given) ? given : lowering.copied(given, name)
  const inPlace = !fixedOrder && coversBuffer(a) && !isDense(a) && strideOf(a, a.axes.length - 1) === 1
  const dots = normGradient && (inPlace || isWhole(a)) && !toImage ? folded.dotsOf(a) : undefined
  if (normGradient !== undefined && dots === undefined) {
    lowerProduct(lowering, normGradient.plain, false)
    layerNormBackward(lowering, normGradient.node, chain.residual, output)
    return
  }
  if (norm !== undefined && !inPlace) a = lowering.whole(a, name)
  let rows = inPlace ? { group: 0, stride: 0, offset: 0 } : rowMapOf(a)
  if (rows === undefined) {
    a = lowering.copied(a, name)
    rows = rowMapOf(a)
  }
  if (rows === undefined) throw uncovered(name, 'a product over rows in an order of their own')

  const toLogits = output === lowering.logits && chain.epilogue === 'store'
  const lead = shapeOf(a).slice(0, -1)
  const count = elementsOf(lead)
  const type = toLogits || toImage ? 'float32' : 'value'
  const columns = chain.epilogue === 'swiglu' ? n / 2 : chain.epilogue === 'swiglu_backward' ? 2 * n : n
  const total = prefix === undefined ? times(count, columns) : elementsOf(output.shape)
  const buffer = toLogits ? ends.logits : toImage ? ends.imageGradient : new PlanBuffer(type, total)

  // Where the rows of the product lie, followed through the chain's changes of layout.
  let at: View = inPlace ? scaled(a, buffer, k, n) : viewOf(buffer, [...lead, n])
  let aux: View | undefined
  let residual: View | undefined
  for (const node of chain.nodes) {
    if (node === root) {
      at = mustReshape(at, root.outputs[0].shape, name)
    } else if (node.op === 'Transpose') {
      at = transposed(at, intsAttribute(node.attributes, 'perm') ?? at.axes.map((_, i) => at.axes.length - 1 - i))
    } else if (reshapes.has(node.op)) at = mustReshape(at, node.outputs[0].shape, name)
    else if (node.op === 'Concat') at = viewOf(buffer, node.outputs[0].shape)
    else if (chain.residual !== undefined && node.op === 'Add' && node.inputs.includes(chain.residual))
      residual = lowering.alike(lowering.view(chain.residual), at, name)
    else if (chain.aux !== undefined && node === chain.nodes.at(-1)) {
      if (chain.auxKept) {
        aux = { ...at, buffer: new PlanBuffer('value', times(count, n)) }
        lowering.define(chain.aux, aux)
      }
      if (columns !== n) at = scaled(at, buffer, n, columns)
      if (!chain.auxKept) aux = lowering.alike(lowering.view(chain.aux), at, name)
    }
  }
  if (chain.epilogue === 'swiglu' && chain.aux === undefined) at = scaled(at, buffer, n, columns)
  if (toLogits || toImage) at = viewOf(buffer, output.shape)
  if (normGradient !== undefined) aux = lowering.alike(lowering.view(normGradient.norm.x), at, name)

  const outMap =
    prefix !== undefined
      ? [prefix.period, prefix.period + prefix.rows, prefix.rows]
      : table !== undefined
        ? [table.period, table.period, 0]
        : [0, 0, 0]
  if (prefix !== undefined) {
    const constant = viewOf(constants.vector(prefix.values, 'value'), [1, prefix.rows, n])
    const place = sliced(at, 1, 0, prefix.rows)
    if (place === undefined) throw uncovered(name, 'tokens in front of an axis that depends on the batch')
    lowering.move(broadcast(constant, shapeOf(place)), place, name)
  }
  const vector = (values: Float32Array<ArrayBuffer> | undefined): PlanBuffer | undefined =>
    values && constants.vector(values)
  const epilogue: Epilogue = toLogits || toImage ? 'store_float' : chain.epilogue
  const weights = weightsOf(lowering, chain, norm)
  const read = normGradient?.norm ?? norm
  const statistics = read && folded.statisticsOf(lowering, aux !== undefined && normGradient ? aux : a, read, name)
  const left = prefix === undefined && epilogue === 'store' ? folded.left(output, buffer, n) : undefined
  const outermost = merged(inPlace ? inMemoryOrder(a.axes.slice(0, -1).flat()) : a.axes.slice(0, -1).flat())[0]
  const dotsOf = folded.dotsWanted.get(output)
  const inOrder = outermost !== undefined && isBatch(outermost.size)
  lowering.step(
    'gemm',
    name,
    [
      a.buffer,
      weights.matrix,
      buffer,
      vector(dotsOf?.bias ?? chain.bias),
      vector(chain.scale),
      residual?.buffer,
      aux?.buffer,
      vector(table?.values),
      statistics,
      weights.sums,
      left?.buffer,
      dots?.buffer ?? (dotsOf && folded.leftDots(output, buffer, count, n)),
    ],
    [
      count,
      n,
      k,
      epilogues[epilogue],
      rows.group,
      rows.stride,
      rows.offset,
      ...outMap,
      inOrder ? 1 : 0,
      left?.rms ? 1 : 0,
      dots?.parts ?? 0,
    ],
    [read?.epsilon ?? 0],
  )
  lowering.define(output, at)
}

/** The rows that are multiplied, and the LayerNorm they still lack. */
function rowsOf(lowering: Lowering, chain: Chain): { a: View; norm: FoldedNorm | undefined } {
  const norm = lowering.folded.normOf(chain.a)
  if (norm === undefined) return { a: lowering.view(throughReshapes(chain.a)), norm }
  const x = lowering.view(throughReshapes(norm.x))
  if (chain.prefix === undefined && chain.table === undefined) return { a: x, norm }
  return { a: normalised(lowering, x, norm, chain.root.name), norm: undefined }
}

/** The kernel wants [n,k]. Of a folded LayerNorm the sums of its rows too. */
function weightsOf(
  { constants }: Lowering,
  { matrix, transposedB, normGradient }: Chain,
  norm: FoldedNorm | undefined,
): { matrix: PlanBuffer; sums: PlanBuffer | undefined } {
  const tensorOf = (value: Value): Tensor => floats(value.constant as Tensor)
  if (norm?.rms === false) {
    const centred = constants.centred(tensorOf(matrix), transposedB)
    return { matrix: constants.of(centred, 'value'), sums: constants.rowSums(centred) }
  }
  if (normGradient?.norm.rms === false) {
    const { forward } = normGradient
    const centred = constants.centred(tensorOf(forward.matrix), forward.transposedB)
    return { matrix: constants.of(centred, 'value', centred.shape as [number, number]), sums: undefined }
  }
  const stored = matrix.shape as [number, number]
  return { matrix: constants.of(tensorOf(matrix), 'value', transposedB ? undefined : stored), sums: undefined }
}

function mustReshape(view: View, shape: readonly Dim[], name: string): View {
  const found = reshaped(view, shape)
  if (found === undefined) throw uncovered(name, 'a product whose rows are split unevenly')
  return found
}

/** The rows of `a` in memory order, each n elements long instead of k. */
function scaled(a: View, buffer: PlanBuffer, k: number, n: number): View {
  const axes = a.axes.slice(0, -1).map((runs) =>
    runs.map(({ size, stride }) => {
      const longer = divideDims(times(stride, n), k)
      if (longer === undefined) throw new Error('rows that are no multiple of their length apart')
      return { size, stride: longer }
    }),
  )
  return { buffer, offset: 0, axes: [...axes, n === 1 ? [] : [{ size: n, stride: 1 }]] }
}

/** Rows are rows however their leading axes are split: the value in front of reshapes that leave the last axis alone. */
function throughReshapes(value: Value): Value {
  let source = value
  for (;;) {
    const node: Node | undefined = source.producer
    const inner = node !== undefined && reshapes.has(node.op) ? node.inputs[0] : undefined
    if (inner === undefined || inner.constant !== undefined) return source
    if (inner.shape.length < 2 || inner.shape.at(-1) !== value.shape.at(-1)) return source
    source = inner
  }
}
