import { sameShape } from '../dim.js'
import type { Node, Value } from '../ir.js'
import type { Candidate } from './block.js'
import { type Dataflow, isNode, type Vertex } from './dataflow.js'
import { activationBehind, activationNames, normalisationAt } from './parts.js'

/** A sum of a value and something computed from it. */
export interface Residual {
  readonly add: Node
  /** What both branches start from. */
  readonly input: Vertex
  readonly nodes: ReadonlySet<Node>
  /** The shortcut is the input itself. */
  readonly identity: boolean
  readonly layerScale: boolean
}

export function residualAt(flow: Dataflow, add: Node): Residual | undefined {
  if (add.op !== 'Add' || !flow.has(add)) return undefined
  const [a, b] = flow.varyingInputs(add)
  const input = flow.dominator(add)
  if (a === undefined || b === undefined || input === undefined || !sameShape(a.shape, b.shape)) return undefined
  const nodes = flow.between(add, [input])
  if (nodes === undefined || nodes.size < 2) return undefined
  const [first, second] = [flow.vertexOf(a), flow.vertexOf(b)]
  const identity =
    flow.upThroughLayout(first) === input ||
    flow.upThroughLayout(second) === input ||
    first === input ||
    second === input
  // Two heads whose logits are summed are no residual connection.
  if (!identity && ![...nodes].some(({ op }) => op === 'Conv' || op === 'Softmax' || op in activationNames))
    return undefined
  return { add, input, nodes, identity, layerScale: isScaled(flow, a) || isScaled(flow, b) }
}

/** A learned factor for each channel at the end of a branch (Touvron et al. 2021). */
function isScaled(flow: Dataflow, value: Value): boolean {
  const node = value.producer
  if (node?.op !== 'Mul' || !flow.has(node) || flow.varyingInputs(node).length !== 1) return false
  return node.inputs.some((input) => input !== undefined && !flow.varies(input) && input.shape.some((dim) => dim !== 1))
}

/** Pairs of residual connections around attention and MLP become transformer blocks, the others residual blocks. */
export function residualBlocks(
  flow: Dataflow,
  residuals: readonly Residual[],
  parts: readonly Candidate[],
): Candidate[] {
  const holds = (residual: Residual, ...kinds: Candidate['kind'][]) =>
    parts.some((part) => kinds.includes(part.kind) && residual.nodes.has(part.output) && isInside(part, residual))
  const byAdd = new Map(residuals.map((residual) => [residual.add, residual]))
  const blocks: Candidate[] = []
  const paired = new Set<Residual>()
  for (const second of residuals) {
    const first = byAdd.get(beforeNorm(flow, second.input) as Node)
    if (first === undefined || paired.has(first)) continue
    if (!holds(second, 'mlp') || !holds(first, 'attention', 'window attention')) continue
    if (holds(first, 'mlp') || holds(second, 'attention', 'window attention')) continue
    const nodes = flow.between(second.add, [first.input])
    if (nodes === undefined) continue
    paired.add(first).add(second)
    blocks.push({
      kind: 'transformer block',
      properties: first.layerScale || second.layerScale ? { layerScale: true } : {},
      output: second.add,
      nodes,
    })
  }
  for (const residual of residuals) {
    if (paired.has(residual)) continue
    const activation = activationBehind(flow, residual.add)
    const nodes = new Set([...residual.nodes, ...(activation?.nodes ?? [])])
    blocks.push({
      kind: 'residual block',
      properties: {
        shortcut: residual.identity ? 'identity' : 'projection',
        ...(activation === undefined ? {} : { activation: activation.name }),
        ...(residual.layerScale ? { layerScale: true } : {}),
      },
      output: activation?.output ?? residual.add,
      nodes,
    })
  }
  return blocks
}

const isInside = (part: Candidate, residual: Residual): boolean =>
  [...part.nodes].every((node) => residual.nodes.has(node))

/** What a norm (of a post-norm block) or layout behind a residual connection starts from. */
function beforeNorm(flow: Dataflow, vertex: Vertex): Vertex {
  const at = flow.upThroughLayout(vertex)
  if (!isNode(at) || normalisationAt(flow, at) === undefined) return at
  const before = flow.dominator(at)
  return before === undefined ? at : flow.upThroughLayout(before)
}
