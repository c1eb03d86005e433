import type { Node } from '../ir.js'
import type { Block, BlockTree, Candidate } from './block.js'
import { type Dataflow, isLayout } from './dataflow.js'

/** Kinds whose nodes are parts with names of their own; what is left over in them is not understood. */
const composites: ReadonlySet<Candidate['kind']> = new Set(['transformer block', 'residual block', 'classifier'])
/** Arithmetic that joins the parts of a composite block: residual sums, layer scale. */
const glue = new Set(['Add', 'Mul', 'Sub', 'Div', 'Sum', 'Mean', 'Relu', 'Softmax', 'LogSoftmax'])

interface Branch {
  readonly candidate: Candidate
  readonly children: Branch[]
}

/** Nests candidates by the nodes they hold. Of two that overlap without nesting, the larger one stays. */
export function arrange(flow: Dataflow, candidates: readonly Candidate[]): BlockTree {
  const top: Branch[] = []
  const innermost = new Map<Node, Branch>()
  // Equal sets keep the order they were proposed in: the outer meaning first.
  for (const candidate of [...candidates].sort((a, b) => b.nodes.size - a.nodes.size)) {
    const parents = new Set([...candidate.nodes].map((node) => innermost.get(node)))
    if (parents.size !== 1) continue
    const [parent] = parents
    if (parent !== undefined && repeats(parent.candidate, candidate)) continue
    const branch: Branch = { candidate, children: [] }
    const siblings = parent?.children ?? top
    siblings.push(branch)
    for (const node of candidate.nodes) innermost.set(node, branch)
  }
  const loose = flow.nodes.filter((node) => {
    const branch = innermost.get(node)
    if (branch === undefined) return true
    return composites.has(branch.candidate.kind) && !isLayout(node) && !glue.has(node.op)
  })
  return {
    blocks: finish(flow, top),
    layout: loose.filter(isLayout),
    unrecognised: loose.filter((node) => !isLayout(node)),
    fixed: flow.graph.nodes.filter((node) => !flow.has(node)),
  }
}

/** The same nodes said again in other words: a convolution that is all of a patch embedding, a linear layer of a classifier. */
function repeats(parent: Candidate, candidate: Candidate): boolean {
  return parent.nodes.size === candidate.nodes.size && !composites.has(parent.kind)
}

function finish(flow: Dataflow, branches: readonly Branch[]): Block[] {
  const first = ({ candidate }: Branch) => Math.min(...[...candidate.nodes].map((node) => flow.orderOf(node)))
  return [...branches]
    .map((branch) => ({ branch, at: first(branch) }))
    .sort((a, b) => a.at - b.at)
    .map(({ branch: { candidate, children } }) => ({
      kind: candidate.kind,
      properties: candidate.properties,
      nodes: [...candidate.nodes].sort((a, b) => flow.orderOf(a) - flow.orderOf(b)),
      children: finish(flow, children),
    }))
}
