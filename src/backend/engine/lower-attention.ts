import { type Dim, intAttribute, isBatch, type Node, sameDim, type Value } from '../../graph/index.js'
import type { Lowering } from './lowering.js'
import { PlanBuffer } from './program.js'
import { elementsOf, shapeOf, strideOf, type View } from './view.js'

/** Attention forward and backward; the backward lays out the gradients of q, k and v as these lie. */
export class AttentionLowering {
  private readonly operands = new Map<Value, readonly View[]>()
  private readonly lowering: Lowering

  constructor(lowering: Lowering) {
    this.lowering = lowering
  }

  forward(node: Node): void {
    const { lowering } = this
    const [out, lse] = node.outputs
    const given = (node.inputs as Value[]).map((value) => lowering.view(value))
    const operands = given.every((view) => this.fits(view, given))
      ? given
      : given.map((view) => lowering.copied(view, node.name))
    this.operands.set(out, operands)
    const [to, logSums] = [lowering.fresh(out.shape), lowering.fresh(lse.shape, 'float32')]
    lowering.step(
      'attention',
      node.name,
      [...operands.map(({ buffer }) => buffer), to.buffer, logSums.buffer],
      ints(operands, to),
      [intAttribute(node.attributes, 'scale', 1)],
    )
    lowering.define(lse, logSums)
    lowering.define(out, to)
  }

  /** q, k and v must share out their buffers among them and nothing else, so that their gradients fill buffers of the same kind. */
  private fits(view: View, all: readonly View[]): boolean {
    const { buffer, axes, offset } = view
    if (!this.lowering.isValue(view) || typeof offset !== 'number' || strideOf(view, 3) !== 1) return false
    if (axes.some((_, i) => strideOf(view, i) === undefined)) return false
    if (axes.flat().some(({ stride }) => stride === 0)) return false
    let used = 0
    for (const other of all) {
      if (other.buffer !== buffer) continue
      const size = elementsOf(shapeOf(other))
      if (!isBatch(size)) return false
      used += size.factor
    }
    return sameDim(buffer.elements, { factor: used })
  }

  backward(node: Node): void {
    const { lowering } = this
    const [, , , out, lse, g] = node.inputs as Value[]
    const operands = this.operands.get(out)
    if (operands === undefined) throw new Error(`${node.name}: its attention was not lowered`)
    const twins = new Map<PlanBuffer, PlanBuffer>()
    const gradients = operands.map((view) => {
      const twin = twins.get(view.buffer) ?? new PlanBuffer('value', view.buffer.elements)
      twins.set(view.buffer, twin)
      return { ...view, buffer: twin }
    })
    const result = lowering.view(out)
    const dout = lowering.whole(lowering.view(g), node.name)
    const buffersOf = (views: readonly View[]): PlanBuffer[] => views.map(({ buffer }) => buffer)
    lowering.step(
      'attention_backward',
      node.name,
      [...buffersOf(operands), result.buffer, lowering.view(lse).buffer, dout.buffer, ...buffersOf(gradients)],
      ints(operands, result),
      [intAttribute(node.attributes, 'scale', 1)],
    )
    for (const [i, gradient] of gradients.entries()) lowering.define(node.outputs[i], gradient)
  }
}

function ints(operands: readonly View[], out: View): Dim[] {
  const strided = (view: View, axes: readonly number[]): Dim[] => [
    view.offset,
    ...axes.map((axis) => strideOf(view, axis) as Dim),
  ]
  const [batch, heads, queries, size] = shapeOf(operands[0])
  const length = shapeOf(operands[1])[2]
  // The result is [N,Q,heads,D].
  return [
    batch,
    heads,
    length,
    size,
    ...operands.flatMap((view) => strided(view, [0, 1, 2])),
    ...strided(out, [0, 2, 1]),
    sameDim(queries, length) ? 0 : queries,
  ]
}
