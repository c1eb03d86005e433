import type { Node, Value } from '../ir.js'
import type { Candidate } from './block.js'
import { type Dataflow, isLayout, isNode, type Vertex } from './dataflow.js'
import { activationAt, linearAt, normalisationAt, poolingAt } from './parts.js'

/**
 * What turns the last features into logits: pooling or the choice of a token, norms, linear layers, a softmax. Ends where `body`
 * begins, the blocks recognised so far.
 */
export function classifierAt(flow: Dataflow, logits: Value, body: readonly Candidate[]): Candidate | undefined {
  const end = logits.producer
  if (end === undefined || !flow.has(end)) return undefined
  const outputs = new Set<Vertex>(body.map(({ output }) => output))
  const nodes = new Set<Node>()
  let at: Vertex | undefined = end
  while (isNode(at) && !outputs.has(at)) {
    const above: Vertex | undefined = flow.dominator(at)
    const region = above && flow.between(at, [above])
    if (region === undefined || ![...region].every((node) => belongs(flow, node) && !outputs.has(node))) break
    for (const node of region) nodes.add(node)
    at = above
  }
  const linears = [...nodes].map((node) => linearAt(flow, node)).filter((linear) => linear !== undefined)
  const poolings = [...nodes].map((node) => poolingAt(flow, node)).filter((pooling) => pooling !== undefined)
  if (nodes.size === 0 || (linears.length === 0 && poolings.length === 0)) return undefined
  const selects = [...nodes].some(({ op }) => op === 'Slice' || op === 'Gather' || op === 'Split')
  const last = linears.sort((p, q) => flow.orderOf(p.product) - flow.orderOf(q.product)).at(-1)
  const classes = logits.shape.at(-1)
  return {
    kind: 'classifier',
    properties: {
      ...(typeof classes === 'number' ? { classes } : {}),
      ...(last === undefined ? {} : { features: last.inputSize }),
      from: poolings.length > 0 ? 'average' : selects ? 'class token' : 'all features',
      ...([...nodes].some(({ op }) => op === 'Softmax') ? { softmax: true } : {}),
    },
    output: end,
    nodes,
  }
}

const arithmetic = ['Add', 'Mul', 'Div', 'Sum', 'Mean', 'Softmax', 'LogSoftmax', 'Sub']

function belongs(flow: Dataflow, node: Node): boolean {
  return (
    isLayout(node) ||
    arithmetic.includes(node.op) ||
    linearAt(flow, node) !== undefined ||
    poolingAt(flow, node) !== undefined ||
    normalisationAt(flow, node) !== undefined ||
    activationAt(flow, node) !== undefined
  )
}
