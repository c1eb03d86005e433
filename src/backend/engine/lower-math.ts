import { type Dim, intAttribute, intsAttribute, isBatch, type Node, sameDim, type Value } from '../../graph/index.js'
import { type FoldedNorm, hasWholeRows, inImageOrder } from './folded-norms.js'
import type { Handler } from './lower-layout.js'
import { integers, type Lowering, padded, RANK, uncovered } from './lowering.js'
import { type FunctionName, type ReductionName, reductions } from './program.js'
import {
  broadcast,
  elementsOf,
  loopsOver,
  multipliable,
  type Run,
  shapeOf,
  sliced,
  times,
  transposed,
  type View,
} from './view.js'

const input = (lowering: Lowering, node: Node, i = 0): View => lowering.view(node.inputs[i] as Value)

/** [rows, columns] of a view whose last axis is worked on as a whole. */
function rowsAndColumns(view: View): [Dim, Dim] {
  const shape = shapeOf(view)
  return [elementsOf(shape.slice(0, -1)), shape.at(-1) ?? 1]
}

export function reduce(lowering: Lowering, node: Node, fn: ReductionName): View {
  const from = input(lowering, node)
  const rank = from.axes.length
  const [out] = node.outputs
  const given = node.inputs[1]
  const listed = given === undefined ? intsAttribute(node.attributes, 'axes') : integers(given)
  if (listed === undefined && given !== undefined) throw uncovered(node.name, `${node.op} over axes that are not known`)
  const all = listed === undefined || listed.length === 0
  if (all && intAttribute(node.attributes, 'noop_with_empty_axes', 0) === 1) return from
  const axes = new Set((all ? from.axes.map((_, i) => i) : listed).map((axis) => (axis + rank) % rank))
  // Neighbours of one kind, kept or summed over, join where they lie one inside the other.
  const loops: (Run & { readonly reduced: boolean })[] = []
  for (const [axis, runs] of from.axes.entries())
    for (const run of runs) {
      const last = loops.at(-1)
      const reduced = axes.has(axis)
      if (
        last?.reduced === reduced &&
        multipliable(run.size, run.stride) &&
        sameDim(last.stride, times(run.size, run.stride))
      )
        loops[loops.length - 1] = { size: times(last.size, run.size), stride: run.stride, reduced }
      else loops.push({ ...run, reduced })
    }
  if (loops.length > RANK) throw uncovered(node.name, `${node.op} over ${loops.length} separate axes`)
  const to = lowering.fresh(out.shape)
  const mask = loops.reduce((bits, { reduced }, i) => bits | (reduced ? 1 << i : 0), 0)
  lowering.step(
    'reduce',
    node.name,
    [to.buffer, from.buffer],
    [
      reductions[fn],
      loops.length,
      ...padded(
        loops.map(({ size }) => size),
        1,
      ),
      ...padded(
        loops.map(({ stride }) => stride),
        0,
      ),
      mask,
      from.offset,
    ],
  )
  return to
}

/** Rows of a folded LayerNorm for a product that cannot normalise its result. */
export function normalised(lowering: Lowering, x: View, norm: FoldedNorm, name: string): View {
  const whole = lowering.whole(x, name)
  const shape = shapeOf(x)
  const [to, deviation] = [lowering.fresh(shape), lowering.fresh(shape.slice(0, -1), 'float32')]
  lowering.step(
    'layer_norm',
    name,
    [whole.buffer, to.buffer, deviation.buffer],
    [...rowsAndColumns(x), norm.rms ? 1 : 0, isBatch(shape[0]) ? 1 : 0],
    [norm.epsilon],
  )
  return to
}

const layerNorm: Handler = (lowering, node) => {
  const x = input(lowering, node)
  const [y, rstd] = node.outputs
  const whole = lowering.whole(x, node.name)
  const [to, deviation] = [lowering.fresh(y.shape), lowering.fresh(rstd.shape, 'float32')]
  lowering.step(
    'layer_norm',
    node.name,
    [whole.buffer, to.buffer, deviation.buffer],
    [...rowsAndColumns(x), intAttribute(node.attributes, 'rms', 0), isBatch(y.shape[0]) ? 1 : 0],
    [intAttribute(node.attributes, 'epsilon', 1e-5)],
  )
  lowering.define(rstd, deviation)
  lowering.define(y, to)
}

/** dx, plus another gradient of the same value where there is one. */
export function layerNormBackward(lowering: Lowering, node: Node, addend: Value | undefined, output: Value): void {
  const [g, y, rstd] = node.inputs as Value[]
  const norm = lowering.folded.norms.get(y)
  if (norm !== undefined) {
    foldedLayerNormBackward(lowering, node, norm, addend, output)
    return
  }
  const [dy, normalised] = [g, y].map((value) => lowering.whole(lowering.view(value), node.name))
  const more = addend && lowering.whole(lowering.view(addend), node.name)
  const to = lowering.fresh(output.shape)
  lowering.step(
    'layer_norm_backward',
    node.name,
    [dy.buffer, normalised.buffer, lowering.view(rstd).buffer, to.buffer, more?.buffer],
    [...rowsAndColumns(normalised), intAttribute(node.attributes, 'rms', 0), isBatch(y.shape[0]) ? 1 : 0],
  )
  lowering.define(output, to)
}

/** From x and its statistics, in the order in which x lies. */
function foldedLayerNormBackward(
  lowering: Lowering,
  { name, inputs }: Node,
  norm: FoldedNorm,
  addend: Value | undefined,
  output: Value,
): void {
  const given = lowering.view(norm.x)
  const x = lowering.isValue(given) && hasWholeRows(given) ? given : lowering.copied(given, name)
  const dy = lowering.alike(lowering.view(inputs[0] as Value), x, name)
  const more = addend && lowering.alike(lowering.view(addend), x, name)
  const to = lowering.freshLike(x)
  const statistics = lowering.folded.statisticsOf(lowering, x, norm, name)
  lowering.step(
    'layer_norm_backward',
    name,
    [dy.buffer, x.buffer, undefined, to.buffer, more?.buffer, statistics],
    [...rowsAndColumns(x), norm.rms ? 1 : 0, inImageOrder(x) ? 1 : 0],
    [norm.epsilon],
  )
  lowering.define(output, to)
}

const softmax: Handler = (lowering, node) => {
  const x = lowering.whole(input(lowering, node), node.name)
  const to = lowering.fresh(node.outputs[0].shape)
  lowering.step('softmax', node.name, [to.buffer, x.buffer], rowsAndColumns(x))
  lowering.define(node.outputs[0], to)
}

const softmaxBackward: Handler = (lowering, node) => {
  const [y, dy] = [0, 1].map((i) => lowering.whole(input(lowering, node, i), node.name))
  const to = lowering.fresh(node.outputs[0].shape)
  lowering.step('softmax_backward', node.name, [to.buffer, y.buffer, dy.buffer], rowsAndColumns(y))
  lowering.define(node.outputs[0], to)
}

/** A product of two activations. */
function matMul(lowering: Lowering, node: Node, a: View, b: View): void {
  const [out] = node.outputs
  const lead = out.shape.slice(0, -2)
  const [m, n] = out.shape.slice(-2)
  const k = shapeOf(a).at(-1)
  if (a.axes.length < 2 || b.axes.length < 2) throw uncovered(node.name, 'a product with a vector')
  if (isBatch(m) || isBatch(n) || k === undefined || isBatch(k))
    throw uncovered(node.name, 'a product over an axis that depends on the batch')
  const operands = [a, b].map((view) => {
    const wide = broadcast(view, [...lead, ...shapeOf(view).slice(-2)])
    const plain = wide.axes.slice(-2).every((runs) => runs.length <= 1)
    return plain ? wide : lowering.copied(wide, node.name)
  })
  const leads = operands.map((view) => ({ ...view, axes: view.axes.slice(0, -2) }))
  let loops = loopsOver(leads)
  if (loops.length > 3) {
    for (const [i, view] of operands.entries()) operands[i] = lowering.copied(view, node.name)
    loops = loopsOver(operands.map((view) => ({ ...view, axes: view.axes.slice(0, -2) })))
  }
  const three = (list: readonly Dim[], filler: number): Dim[] => [
    ...new Array<Dim>(3 - list.length).fill(filler),
    ...list,
  ]
  const strides = (i: number): Dim[] => [
    ...three(
      loops.map((loop) => loop.strides[i]),
      0,
    ),
    ...operands[i].axes.slice(-2).map(([run]) => run?.stride ?? 0),
  ]
  const to = lowering.fresh(out.shape)
  lowering.step(
    'batched_matmul',
    node.name,
    [to.buffer, ...operands.map(({ buffer }) => buffer)],
    [
      m,
      n,
      k,
      ...three(
        loops.map(({ size }) => size),
        1,
      ),
      ...strides(0),
      ...strides(1),
      operands[0].offset,
      operands[1].offset,
    ],
    [1],
  )
  lowering.define(out, to)
}

/** Gemm of two activations; with a constant matrix it is a product with an epilogue. */
const gemm: Handler = (lowering, node) => {
  const { attributes } = node
  if (node.inputs[2] !== undefined || intAttribute(attributes, 'alpha', 1) !== 1)
    throw uncovered(node.name, 'Gemm of two activations with a bias')
  const operand = (i: number, flag: string): View => {
    const view = input(lowering, node, i)
    return intAttribute(attributes, flag, 0) === 0 ? view : transposed(view, [1, 0])
  }
  matMul(lowering, node, operand(0, 'transA'), operand(1, 'transB'))
}

const activationBackward: Handler = (lowering, node) => {
  const operands = [input(lowering, node), input(lowering, node, 1)]
  lowering.computed(`${String(node.attributes.kind)}_backward` as FunctionName, operands, node.outputs[0], node.name)
}

/** a and b of a gated linear layer, which lie in turns. */
function turns(view: View): View[] {
  const axis = view.axes.length - 1
  const half = (shapeOf(view)[axis] as number) / 2
  return [0, 1].map((start) => sliced(view, axis, start, half, 2) as View)
}

const swiGlu: Handler = (lowering, { name, inputs, outputs: [out] }) => {
  const [a, b] = turns(lowering.whole(lowering.view(inputs[0] as Value), name))
  const gate = lowering.fresh(out.shape)
  lowering.elementwise('silu', [a], gate, name)
  lowering.computed('multiply', [gate, b], out, name)
}

/** Behind anything but a product, which has it as its end. */
const swiGluBackward: Handler = (lowering, { name, inputs, outputs: [out] }) => {
  const [x, g] = inputs.map((value) => lowering.whole(lowering.view(value as Value), name))
  const [a, b] = turns(x)
  const [gate, product, da, db] = [0, 1, 2, 3].map(() => lowering.fresh(shapeOf(g)))
  lowering.elementwise('silu', [a], gate, name)
  lowering.elementwise('multiply', [g, gate], db, name)
  lowering.elementwise('multiply', [g, b], product, name)
  lowering.elementwise('silu_backward', [a, product], da, name)
  const to = lowering.fresh(out.shape)
  for (const [i, place] of turns(to).entries()) lowering.move([da, db][i], place, name)
  lowering.define(out, to)
}

const l2: Handler = (lowering, node) => {
  lowering.computed('square_root', [reduce(lowering, node, 'sum_squares')], node.outputs[0], node.name)
}

const loss: Handler = (lowering, node) => {
  const to = lowering.fresh(node.outputs[0].shape)
  const { classes, code, targeted } = lowering.loss
  lowering.step('loss', node.name, [input(lowering, node).buffer, to.buffer], [classes, code, targeted ? 1 : 0])
  lowering.define(node.outputs[0], to)
}

export const mathHandlers: Readonly<Record<string, Handler>> = {
  MatMul: (lowering, node) => matMul(lowering, node, input(lowering, node), input(lowering, node, 1)),
  Gemm: gemm,
  ReduceL2: l2,
  'signstep.LayerNorm': layerNorm,
  'signstep.LayerNormBackward': (lowering, node) => layerNormBackward(lowering, node, undefined, node.outputs[0]),
  'signstep.Softmax': softmax,
  'signstep.SoftmaxBackward': softmaxBackward,
  'signstep.ActivationBackward': activationBackward,
  'signstep.SwiGlu': swiGlu,
  'signstep.SwiGluBackward': swiGluBackward,
  'signstep.Loss': loss,
}
