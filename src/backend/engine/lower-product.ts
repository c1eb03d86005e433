import { type Dim, divideDims, intsAttribute, isBatch, type Node, type Value } from '../../graph/index.js'
import type { Tensor } from '../../tensor/index.js'
import type { Chain } from './chains.js'
import { reshapes } from './functions.js'
import { floats, type Lowering, uncovered } from './lowering.js'
import { type Epilogue, epilogues, PlanBuffer } from './program.js'
import {
  broadcast,
  coversBuffer,
  elementsOf,
  inMemoryOrder,
  isDense,
  loopsOver,
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
  const { constants, ends } = lowering
  const { root, output, prefix, table } = chain
  const [first, second] = chain.matrix.shape as [number, number]
  const [k, n] = chain.transposedB ? [second, first] : [first, second]
  const name = root.name
  // The kernel wants [n,k].
  const weight = constants.of(floats(chain.matrix.constant as Tensor), 'value', chain.transposedB ? undefined : [k, n])

  const fixedOrder = prefix !== undefined || table !== undefined || toImage || output === lowering.logits
  let a = lowering.view(throughReshapes(chain.a))
  if (!lowering.isValue(a)) a = lowering.copied(a, name)
  const inPlace = !fixedOrder && coversBuffer(a) && !isDense(a) && strideOf(a, a.axes.length - 1) === 1
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
  const total = prefix === undefined ? times(count, n) : elementsOf(output.shape)
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
    else if (chain.residual !== undefined && node === chain.nodes.at(-1))
      residual = alike(lowering, lowering.view(chain.residual), at, name)
    else if (chain.aux !== undefined && node === chain.nodes.at(-1)) {
      if (chain.auxKept) {
        aux = { ...at, buffer: new PlanBuffer('value', buffer.elements) }
        lowering.define(chain.aux, aux)
      } else aux = alike(lowering, lowering.view(chain.aux), at, name)
    }
  }
  if (toLogits || toImage) at = viewOf(buffer, output.shape)

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
  const outermost = merged(inPlace ? inMemoryOrder(a.axes.slice(0, -1).flat()) : a.axes.slice(0, -1).flat())[0]
  const inOrder = outermost !== undefined && isBatch(outermost.size)
  lowering.step(
    'gemm',
    name,
    [
      a.buffer,
      weight,
      buffer,
      vector(chain.bias),
      vector(chain.scale),
      residual?.buffer,
      aux?.buffer,
      vector(table?.values),
    ],
    [count, n, k, epilogues[epilogue], rows.group, rows.stride, rows.offset, ...outMap, inOrder ? 1 : 0],
  )
  lowering.define(output, at)
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

/** An operand that the epilogue reads element beside element: as it is where it lies as the result does, else a copy that does. */
function alike(lowering: Lowering, operand: View, result: View, name: string): View {
  const fits =
    lowering.isValue(operand) &&
    coversBuffer(operand) &&
    loopsOver([operand, result]).every(({ strides: [own, other] }) => same(own, other))
  if (fits) return operand
  const copy = { ...result, buffer: new PlanBuffer('value', elementsOf(shapeOf(result))) }
  lowering.move(operand, copy, name)
  return copy
}

const same = (a: Dim, b: Dim): boolean => (isBatch(a) ? isBatch(b) && a.factor === b.factor : a === b)

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
