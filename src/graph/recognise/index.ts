import type { Graph } from '../ir.js'
import { attentionAt } from './attention.js'
import type { BlockTree, Candidate } from './block.js'
import { classifierAt } from './classifier.js'
import { Dataflow } from './dataflow.js'
import { inputNormalisation, squeezeAndExcitationAt } from './gates.js'
import { mlpAround } from './mlp.js'
import { activationAt, convolutionAt, linearAt, normalisationAt, poolingAt } from './parts.js'
import { patchEmbeddingAt, patchMergingAt } from './patches.js'
import { residualAt, residualBlocks } from './residual.js'
import { arrange } from './tree.js'

export type { Block, BlockKind, BlockTree, Properties } from './block.js'

/**
 * Finds the blocks of an image model by the structure of its graph, whatever its nodes are called and whichever exporter wrote it.
 * `graph` should be canonical (see `canonicalise`). Nothing depends on the result being complete: what is not recognised runs all
 * the same.
 */
export function recognise(graph: Graph): BlockTree {
  const flow = new Dataflow(graph)
  const found = <T>(recogniser: (node: (typeof flow.nodes)[number]) => T | undefined): T[] =>
    flow.nodes.map(recogniser).filter((part) => part !== undefined)

  // The sigmoid of x·σ(x) is no activation of its own.
  const proposed = found((node) => activationAt(flow, node))
  const gated = new Set(proposed.filter(({ nodes }) => nodes.size > 1).flatMap(({ nodes }) => [...nodes]))
  const activations = proposed.filter(({ nodes, output }) => nodes.size > 1 || !gated.has(output))
  const linears = found((node) => linearAt(flow, node))
  const attentions = found((node) => attentionAt(flow, node))
  const inside = new Set(attentions.flatMap(({ nodes }) => [...nodes]))
  const mlps = activations
    .map((activation) => mlpAround(flow, activation))
    .filter((mlp) => mlp !== undefined)
    .filter((mlp) => !inside.has(mlp.output))
  const merging = linears
    .filter(({ product }) => !inside.has(product))
    .map((linear) => patchMergingAt(flow, linear))
    .filter((part) => part !== undefined)
  const patches = found((node) => patchEmbeddingAt(flow, node))
  const normalisation = inputNormalisation(flow)
  for (const mlp of mlps) for (const node of mlp.nodes) inside.add(node)
  const gates = found((node) => squeezeAndExcitationAt(flow, node))
  const residuals = found((node) => (inside.has(node) ? undefined : residualAt(flow, node)))
  const composites = residualBlocks(flow, residuals, [...attentions, ...mlps])
  const convolutions = found((node) => convolutionAt(flow, node))
  const body: Candidate[] = [
    ...composites,
    ...(normalisation === undefined ? [] : [normalisation]),
    ...patches,
    ...merging,
    ...attentions,
    ...gates,
    ...convolutions,
  ]
  const [logits] = graph.outputs
  const classifier = logits && classifierAt(flow, logits, body)
  const leaves: Candidate[] = [
    ...found((node) => normalisationAt(flow, node)),
    ...linears.map((linear) => ({
      kind: 'linear' as const,
      properties: { inputs: linear.inputSize, outputs: linear.outputSize, bias: linear.bias },
      output: linear.output,
      nodes: new Set([linear.product, linear.output]),
    })),
    ...activations.map(({ name, nodes, output }) => ({
      kind: 'activation' as const,
      properties: { function: name },
      output,
      nodes,
    })),
    ...found((node) => poolingAt(flow, node)),
  ]
  return arrange(flow, [...(classifier === undefined ? [] : [classifier]), ...body, ...mlps, ...leaves])
}
