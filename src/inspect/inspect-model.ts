import {
  type Block,
  canonicalise,
  cost,
  type Graph,
  type GraphCost,
  type Node,
  recognise,
  showDim,
  type Value,
} from '../graph/index.js'
import type { OnnxModel } from '../onnx/index.js'
import type { InspectedBlock, InspectedTensor, InspectResult } from './result.js'

export interface InspectSubject {
  readonly file: string
  readonly model: Pick<OnnxModel, 'producer' | 'opset' | 'irVersion' | 'graph'>
  /** As imported: folded, N symbolic. The first input is the image, the first output the logits. */
  readonly graph: Graph
  /** What the import has to say, for example that a fixed batch was made free. */
  readonly notes?: readonly string[]
}

/** Recognises and measures a model. Pure: the graph is not changed. */
export function inspectModel({ file, model, graph, notes = [] }: InspectSubject): InspectResult {
  const canonical = canonicalise(graph, { keepParameters: true, narrow: false })
  const tree = recognise(canonical)
  const costs = cost(canonical)
  const [input] = canonical.inputs
  const [logits] = canonical.outputs
  const classes = logits?.shape.length === 2 && typeof logits.shape[1] === 'number' ? logits.shape[1] : undefined
  const { flops, parameters, keptBytes, peakBytes } = costs
  return {
    file,
    producer: model.producer,
    opset: model.opset,
    irVersion: model.irVersion,
    input: describeTensor(input),
    outputs: canonical.outputs.map(describeTensor),
    classes,
    notes: [...notes, ...observations(canonical, logits)],
    totals: { flops, parameters, keptBytes, peakBytes },
    blocks: tree.blocks.map((block) => describeBlock(block, costs)),
    unrecognised: tree.unrecognised.map((node) => ({
      op: node.op,
      name: node.outputs[0].name,
      shape: node.outputs[0].shape.map(sizeOf),
    })),
    nodes: { file: model.graph.nodes.length, folded: graph.nodes.length, canonical: canonical.nodes.length },
    operators: histogram(model.graph.nodes),
    canonicalOperators: histogram(canonical.nodes),
  }
}

function describeBlock(block: Block, costs: GraphCost): InspectedBlock {
  const { flops, parameters, keptBytes } = costs.of(block.nodes)
  return {
    kind: block.kind,
    properties: block.properties,
    nodes: block.nodes.length,
    flops,
    parameters,
    keptBytes,
    children: block.children.map((child) => describeBlock(child, costs)),
  }
}

const sizeOf = (dim: Value['shape'][number]): number | string => (typeof dim === 'number' ? dim : showDim(dim))
const describeTensor = ({ name, dtype, shape }: Value): InspectedTensor => ({ name, dtype, shape: shape.map(sizeOf) })

function observations(graph: Graph, logits: Value | undefined): string[] {
  const notes: string[] = []
  const last = finalOperator(logits)
  if (last?.op === 'Softmax' || last?.op === 'Sigmoid')
    notes.push(
      `ends in ${last.op}: the output is probabilities, not logits; gradients through it vanish where the model is sure`,
    )
  if (last?.op === 'LogSoftmax') notes.push('ends in LogSoftmax: cross-entropy is unchanged by it, margins are too')
  if (graph.outputs.length > 1)
    notes.push(
      `${graph.outputs.length} outputs: ${graph.outputs.map(({ name }) => name).join(', ')}; the first is taken as the logits`,
    )
  return notes
}

/** The operator that makes the output, looking past reshapes. */
function finalOperator(output: Value | undefined): Node | undefined {
  let node = output?.producer
  while (node !== undefined && ['Reshape', 'Identity', 'Squeeze', 'Flatten', 'Cast'].includes(node.op))
    node = node.inputs[0]?.producer
  return node
}

function histogram(nodes: readonly { readonly op: string }[]): Record<string, number> {
  const counts = new Map<string, number>()
  for (const { op } of nodes) counts.set(op, (counts.get(op) ?? 0) + 1)
  return Object.fromEntries([...counts].sort(([a, m], [b, n]) => n - m || a.localeCompare(b)))
}
