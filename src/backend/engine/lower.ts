import { type Graph, type Node, sameShape, type Value } from '../../graph/index.js'
import { isFloat } from '../../tensor/index.js'
import { type Chain, chainAt, usesOf } from './chains.js'
import type { Constants } from './constants.js'
import { FoldedRows, foldedNorms, rowSource, withNormGradient } from './folded-norms.js'
import { folded, pointwise, reductionOps } from './functions.js'
import { uncoveredWindow } from './fuse-convolution.js'
import { AttentionLowering } from './lower-attention.js'
import { lowerConvolution, poolHandlers } from './lower-convolution.js'
import { type Handler, layoutHandlers } from './lower-layout.js'
import { layerNormBackward, mathHandlers, reduce } from './lower-math.js'
import { lowerProduct } from './lower-product.js'
import { type Ends, type LossStep, Lowering, uncovered } from './lowering.js'
import type { Step } from './program.js'
import { type View, viewOf } from './view.js'

export interface LowerOptions {
  readonly graph: Graph
  readonly images: Value
  readonly logits: Value
  /** d loss / d images, in a gradient program. */
  readonly imageGradient: Value | undefined
  readonly ends: Ends
  readonly constants: Constants
  readonly loss: LossStep
  /** Whether LayerNorms are folded into the products beside them. */
  readonly foldNorms: boolean
}

/**
 * Turns a graph with the engine's own operators into kernel launches: products take their epilogues in, layout operators become views, the
 * rest is one launch a node.
 *
 * @throws ModelError OPERATOR_UNSUPPORTED naming the first node that no kernel covers
 */
export function lower(options: LowerOptions): Step[] {
  const { graph, logits, imageGradient, ends } = options
  const outputs = imageGradient === undefined ? [logits] : [logits, imageGradient]
  const nodes = needed(graph, outputs)
  const { uses, kept } = usesOf(nodes, outputs)
  const rows = new FoldedRows(options.foldNorms ? foldedNorms(nodes, uses, kept) : new Map())
  const lowering = new Lowering({ ...options, folded: rows })
  const attention = new AttentionLowering(lowering)

  // What is taken in by another node is emitted with it, in the place of the last one.
  const emitAt = new Map<Node, () => void>()
  const taken = new Set<Node>()
  const chains = new Map<Value, Chain>()
  for (const node of nodes) {
    const product = taken.has(node) ? undefined : chainAt(node, uses, kept, taken)
    if (product === undefined) continue
    const chain = withNormGradient(product, { rows, chains, uses, kept, taken })
    for (const part of chain.nodes) taken.add(part)
    chains.set(rowSource(chain.output), chain)
    if (chain.aux !== undefined && chain.auxKept) chains.set(rowSource(chain.aux), chain)
    const toImage =
      imageGradient !== undefined && chain.epilogue === 'store' && endsInImage(chain.output, imageGradient)
    const lowerChain = node.op.startsWith('signstep.Convolution') ? lowerConvolution : lowerProduct
    emitAt.set(chain.nodes[chain.nodes.length - 1], () => lowerChain(lowering, chain, toImage))
  }
  for (const node of nodes) {
    if (node.op !== 'signstep.LayerNormBackward' || taken.has(node)) continue
    const [dx] = node.outputs
    const [user, ...more] = uses.get(dx) ?? []
    if (user?.op !== 'Add' || more.length > 0 || taken.has(user) || kept.has(dx)) continue
    const other = user.inputs[0] === dx ? user.inputs[1] : user.inputs[0]
    if (other === undefined || other === dx || other.constant !== undefined || !sameShape(other.shape, dx.shape))
      continue
    taken.add(node)
    taken.add(user)
    emitAt.set(user, () => layerNormBackward(lowering, node, other, user.outputs[0]))
  }

  for (const node of nodes) {
    const emit = emitAt.get(node)
    if (emit !== undefined) emit()
    else if (!taken.has(node)) emitNode(lowering, attention, node)
  }
  if (imageGradient !== undefined) {
    const view = lowering.view(imageGradient)
    if (view.buffer !== ends.imageGradient)
      lowering.move(view, viewOf(ends.imageGradient, imageGradient.shape), 'input_gradient')
  }
  return lowering.steps
}

const handlers: Readonly<Record<string, Handler>> = { ...layoutHandlers, ...mathHandlers, ...poolHandlers }
const windows: ReadonlySet<string> = new Set(['Conv', 'ConvTranspose', 'MaxPool', 'AveragePool'])

function emitNode(lowering: Lowering, attention: AttentionLowering, node: Node): void {
  const [out] = node.outputs
  if (lowering.folded.norms.has(out)) return // the products that read it normalise
  if (!isFloat(out.dtype) && out.dtype !== 'bool') return // arithmetic of shapes: they are known
  const { op, name } = node
  if (op === 'signstep.Attention') {
    attention.forward(node)
    return
  }
  if (op === 'signstep.AttentionBackward') {
    attention.backward(node)
    return
  }
  const handler = Object.hasOwn(handlers, op) ? handlers[op] : undefined
  if (handler !== undefined) {
    handler(lowering, node)
    return
  }
  const input = (i: number): View => lowering.view(node.inputs[i] as Value)
  const simple = pointwise(node)
  if (simple !== undefined) {
    lowering.computed(simple.function, simple.inputs.map(input), out, name, simple.parameters)
  } else if (Object.hasOwn(folded, op)) {
    let result = input(0)
    for (let i = 1; i < node.inputs.length - 1; i++) {
      const to = lowering.fresh(out.shape)
      lowering.elementwise(folded[op], [result, input(i)], to, name)
      result = to
    }
    const last = node.inputs.length - 1
    if (last === 0) lowering.computed('identity', [result], out, name)
    else lowering.computed(folded[op], [result, input(last)], out, name)
  } else if (Object.hasOwn(reductionOps, op)) lowering.define(out, reduce(lowering, node, reductionOps[op]))
  else throw uncovered(name, windows.has(op) ? (uncoveredWindow(node) ?? op) : op)
}

/** Whether the value is the image gradient, in patch layout, seen through reshapes. */
function endsInImage(value: Value, imageGradient: Value): boolean {
  const unpatch = imageGradient.producer
  if (unpatch?.op !== 'signstep.Unpatch') return false
  let source = unpatch.inputs[0]
  while (source !== value && source?.producer?.op === 'Reshape') source = source.producer.inputs[0]
  return source === value
}

/** Nodes on the way to the outputs, in order. Shapes, axes and the like are known while lowering and need none. */
export function needed(graph: Graph, outputs: readonly Value[]): Node[] {
  const wanted = new Set<Node>()
  const waiting = outputs.flatMap(({ producer }) => producer ?? [])
  for (let node = waiting.pop(); node !== undefined; node = waiting.pop()) {
    if (wanted.has(node)) continue
    wanted.add(node)
    for (const input of node.inputs)
      if (input?.producer !== undefined && (isFloat(input.dtype) || input.dtype === 'bool'))
        waiting.push(input.producer)
  }
  return graph.nodes.filter((node) => wanted.has(node))
}
