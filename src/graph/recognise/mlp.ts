import { intAttribute, type Node } from '../ir.js'
import type { Candidate } from './block.js'
import { type Dataflow, isLayout, isNode, type Vertex } from './dataflow.js'
import { type Activation, type Linear, linearAt, normalisationAt } from './parts.js'

/** Linear, activation, linear; also gated (SwiGLU), with a depthwise convolution or a norm between. */
export function mlpAround(flow: Dataflow, activation: Activation): Candidate | undefined {
  const first = linearAbove(flow, activation.input)
  const second = linearBelow(flow, activation.output)
  if (first === undefined || second === undefined) return undefined
  const nodes = flow.between(second.output, [first.input])
  if (nodes === undefined) return undefined
  const products = [...nodes].filter((node) => flow.varyingInputs(node).length === 2 && !activation.nodes.has(node))
  if (products.some(({ op }) => op !== 'Mul')) return undefined
  return {
    kind: 'mlp',
    properties: {
      dim: first.inputSize,
      hidden: second.inputSize,
      ...(second.outputSize === first.inputSize ? {} : { outputDim: second.outputSize }),
      activation: activation.name,
      ...(products.length > 0 ? { gated: true } : {}),
      ...([...nodes].some(isDepthwise) ? { depthwise: true } : {}),
    },
    output: second.output,
    nodes,
  }
}

function linearAbove(flow: Dataflow, start: Vertex): Linear | undefined {
  let at: Vertex | undefined = start
  for (let steps = 0; isNode(at) && steps < 8; steps++) {
    const linear = linearAt(flow, at)
    if (linear !== undefined) return linear
    const biased = at.op === 'Add' && flow.varyingInputs(at).length === 1
    if (!biased && !isLayout(at) && !isDepthwise(at)) return undefined
    at = flow.dominator(at)
  }
  return undefined
}

function linearBelow(flow: Dataflow, start: Node): Linear | undefined {
  let at: Node | undefined = flow.postDominator(start)
  for (let steps = 0; at !== undefined && steps < 8; steps++) {
    const linear = linearAt(flow, at)
    if (linear !== undefined) return linear
    if (at.op !== 'Mul' && !isLayout(at) && !isDepthwise(at) && normalisationAt(flow, at) === undefined)
      return undefined
    at = flow.postDominator(at)
  }
  return undefined
}

function isDepthwise(node: Node): boolean {
  const group = intAttribute(node.attributes, 'group', 1)
  return node.op === 'Conv' && group > 1 && node.inputs[0]?.shape[1] === group
}
