import type { Node } from '../ir.js'
import type { Candidate } from './block.js'
import { type Dataflow, isNode } from './dataflow.js'
import { poolingAt } from './parts.js'

/** Channels weighted by a function of their means (Hu et al. 2018): x · gate(pool(x)). */
export function squeezeAndExcitationAt(flow: Dataflow, node: Node): Candidate | undefined {
  if (node.op !== 'Mul' || !flow.has(node)) return undefined
  const input = flow.dominator(node)
  if (input === undefined || !flow.sources(node).includes(input)) return undefined
  const nodes = flow.between(node, [input])
  if (nodes === undefined || nodes.size < 4 || nodes.size > 16) return undefined
  const start = [...nodes].find((part) => flow.sources(part).includes(input) && part !== node)
  const pools = start !== undefined && poolingAt(flow, start)?.kind === 'pooling'
  const gate = flow.sources(node).find((source) => source !== input)
  if (!pools || !isNode(gate) || ![...nodes].some(({ op }) => op === 'Conv' || op === 'MatMul' || op === 'Gemm'))
    return undefined
  const layers = [...nodes].filter(({ op }) => op === 'Conv' || op === 'MatMul' || op === 'Gemm')
  const widths = layers.map(({ op, outputs }) => outputs[0].shape.at(op === 'Conv' ? 1 : -1))
  const known = widths.filter((width) => typeof width === 'number')
  return {
    kind: 'squeeze-and-excitation',
    properties: known.length > 0 ? { reducedChannels: Math.min(...known) } : {},
    output: node,
    nodes,
  }
}

/** Means subtracted and deviations divided out between the image and the first layer. */
export function inputNormalisation(flow: Dataflow): Candidate | undefined {
  const [image] = flow.graph.inputs
  const nodes = new Set<Node>()
  let output: Node | undefined
  for (let next = image && flow.onlyUser(image); next !== undefined; next = flow.onlyUser(next)) {
    if (!['Sub', 'Add', 'Mul', 'Div'].includes(next.op) || flow.varyingInputs(next).length !== 1) break
    nodes.add(next)
    output = next
  }
  return output && { kind: 'input normalisation', properties: {}, output, nodes }
}
