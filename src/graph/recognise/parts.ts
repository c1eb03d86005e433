import { reducedAxes, scalarOf } from '../canonicalise/match.js'
import { isBatch } from '../dim.js'
import { intAttribute, intsAttribute, type Node, type Value } from '../ir.js'
import type { Candidate } from './block.js'
import { type Dataflow, isNode, type Vertex } from './dataflow.js'

/** A product with a constant matrix, and its bias. */
export interface Linear {
  readonly input: Vertex
  readonly product: Node
  /** The product, or the addition of the bias behind it. */
  readonly output: Node
  readonly inputSize: number
  readonly outputSize: number
  readonly bias: boolean
}

export function linearAt(flow: Dataflow, node: Node | undefined): Linear | undefined {
  if (node === undefined || (node.op !== 'MatMul' && node.op !== 'Gemm') || !flow.has(node)) return undefined
  const [a, w] = node.inputs
  if (a === undefined || !flow.varies(a) || w === undefined || flow.varies(w) || flow.varies(node.inputs[2]))
    return undefined
  const transposed = node.op === 'Gemm' && intAttribute(node.attributes, 'transB', 0) === 1
  const [rows, columns] = w.shape.length === 1 ? [w.shape[0], 1] : w.shape.slice(-2)
  if (isBatch(rows) || isBatch(columns)) return undefined
  const next = flow.onlyUser(node)
  const added =
    node.op === 'MatMul' && next?.op === 'Add' && next.inputs.some((input) => !flow.varies(input) && isVector(input))
  return {
    input: flow.vertexOf(a),
    product: node,
    output: added ? next : node,
    inputSize: transposed ? columns : rows,
    outputSize: transposed ? rows : columns,
    bias: added || node.inputs[2] !== undefined,
  }
}

const isVector = (value: Value | undefined): boolean => value?.shape.slice(0, -1).every((dim) => dim === 1) === true

/** An activation function, in one node or several. */
export interface Activation {
  readonly input: Vertex
  readonly output: Node
  readonly nodes: ReadonlySet<Node>
  readonly name: string
}

export const activationNames: Readonly<Record<string, string>> = {
  Gelu: 'gelu',
  Relu: 'relu',
  Sigmoid: 'sigmoid',
  Tanh: 'tanh',
  HardSwish: 'hard-swish',
  HardSigmoid: 'hard-sigmoid',
  LeakyRelu: 'leaky-relu',
  PRelu: 'prelu',
  Elu: 'elu',
  Celu: 'celu',
  Selu: 'selu',
  Softplus: 'softplus',
  Softsign: 'softsign',
  Mish: 'mish',
  Swish: 'silu',
}

/** x·σ(x) in its variants, by the operator of the gate. */
const gatedNames: Readonly<Record<string, string>> = { Sigmoid: 'silu', HardSigmoid: 'hard-swish', Clip: 'hard-swish' }

/** The activation whose last node is `node`. */
export function activationAt(flow: Dataflow, node: Node | undefined): Activation | undefined {
  if (node === undefined || !flow.has(node)) return undefined
  const dominator = flow.dominator(node)
  if (dominator === undefined) return undefined
  const single = (name: string): Activation => ({ input: dominator, output: node, nodes: new Set([node]), name })
  if (node.op === 'Gelu') return single(node.attributes.approximate === 'tanh' ? 'gelu (tanh)' : 'gelu')
  if (node.op in activationNames) return single(activationNames[node.op])
  if (node.op === 'Clip') {
    const [low, high] = [scalarOf(node.inputs[1]), scalarOf(node.inputs[2])]
    return low === 0 && high !== undefined ? single(`relu${high}`) : undefined
  }
  if (node.op === 'Mul' || node.op === 'Div') return gatedActivation(flow, node, dominator)
  return undefined
}

/** x times a function of the same x, in few elementwise nodes. */
function gatedActivation(flow: Dataflow, node: Node, dominator: Vertex): Activation | undefined {
  const region = flow.between(node, [dominator])
  if (region === undefined || region.size < 2 || region.size > 6) return undefined
  const gates = [...region].filter(({ op }) => op in gatedNames)
  const rest = [...region].filter((part) => part !== gates[0])
  if (gates.length !== 1) return undefined
  if (!rest.every((part) => ['Mul', 'Div', 'Add'].includes(part.op))) return undefined
  // All but the multiplication by x itself take numbers only.
  const products = rest.filter((part) => flow.varyingInputs(part).length === 2)
  if (products.length !== 1 || !flow.sources(products[0]).includes(dominator)) return undefined
  const scalars = rest.flatMap((part) => part.inputs.filter((input) => !flow.varies(input)).map(scalarOf))
  if (scalars.some((scalar) => scalar === undefined)) return undefined
  const quick = gates[0].op === 'Sigmoid' && scalars.some((scalar) => Math.abs((scalar ?? 0) - 1.702) < 1e-3)
  return { input: dominator, output: node, nodes: region, name: quick ? 'gelu (sigmoid)' : gatedNames[gates[0].op] }
}

const normalisations: Readonly<Record<string, Candidate['kind']>> = {
  LayerNormalization: 'layer normalisation',
  RMSNormalization: 'rms normalisation',
  BatchNormalization: 'batch normalisation',
  GroupNormalization: 'group normalisation',
  InstanceNormalization: 'group normalisation',
}

/** The normalisation whose last node is `node`, its constant scale and shift included where they are nodes of their own. */
export function normalisationAt(flow: Dataflow, node: Node): Candidate | undefined {
  if (!flow.has(node)) return undefined
  const kind = normalisations[node.op]
  if (kind !== undefined && flow.varies(node.inputs[0])) {
    if (node.op === 'InstanceNormalization') return groupNormalisation(flow, node)
    const axis = node.op === 'BatchNormalization' || node.op === 'GroupNormalization' ? 1 : -1
    const dim = node.outputs[0].shape.at(axis)
    return {
      kind,
      properties: {
        ...(typeof dim === 'number' ? { dim } : {}),
        ...(typeof node.attributes.epsilon === 'number' ? { epsilon: node.attributes.epsilon } : {}),
        ...(node.op === 'GroupNormalization' ? { groups: intAttribute(node.attributes, 'num_groups', 1) } : {}),
      },
      output: node,
      nodes: new Set([node]),
    }
  }
  return node.op === 'Div' || node.op === 'Mul' ? decomposedNormalisation(flow, node) : undefined
}

/** Reshape to groups, InstanceNormalization, Reshape back, Mul, Add: how older opsets write GroupNorm. */
function groupNormalisation(flow: Dataflow, node: Node): Candidate {
  const nodes = new Set([node])
  const before = flow.vertexOf(node.inputs[0]!)
  const groups = node.outputs[0].shape[1]
  let output = node
  if (isNode(before) && before.op === 'Reshape' && flow.onlyUser(before) === node) nodes.add(before)
  for (let next = flow.onlyUser(output); next !== undefined; next = flow.onlyUser(output)) {
    const affine = (next.op === 'Mul' || next.op === 'Add') && flow.varyingInputs(next).length === 1
    if (next.op !== 'Reshape' && !affine) break
    nodes.add(next)
    output = next
  }
  return {
    kind: 'group normalisation',
    properties: typeof groups === 'number' ? { groups } : {},
    output,
    nodes,
  }
}

/** A LayerNorm over axes that LayerNormalization cannot take (channels first), or one that was not rewritten. */
function decomposedNormalisation(flow: Dataflow, node: Node): Candidate | undefined {
  const dominator = flow.dominator(node)
  const region = dominator && flow.between(node, [dominator])
  if (region === undefined || region.size < 5 || region.size > 9) return undefined
  const ops = [...region].map(({ op }) => op)
  const allowed = ['Sub', 'Pow', 'Mul', 'ReduceMean', 'Add', 'Sqrt', 'Reciprocal', 'Div']
  if (!ops.every((op) => allowed.includes(op)) || (!ops.includes('Sqrt') && !ops.includes('Pow'))) return undefined
  const means = [...region].filter(({ op }) => op === 'ReduceMean')
  if (means.length === 0 || means.length > 2) return undefined
  const nodes = new Set(region)
  let output = node
  for (let next = flow.onlyUser(output); next !== undefined; next = flow.onlyUser(output)) {
    if ((next.op !== 'Mul' && next.op !== 'Add') || flow.varyingInputs(next).length !== 1) break
    nodes.add(next)
    output = next
  }
  return {
    kind: ops.includes('Sub') ? 'layer normalisation' : 'rms normalisation',
    properties: { axes: reducedAxes(means[0]) ?? [] },
    output,
    nodes,
  }
}

/** Convolution, then BatchNorm and activation where they follow directly. */
export function convolutionAt(flow: Dataflow, node: Node): Candidate | undefined {
  if ((node.op !== 'Conv' && node.op !== 'ConvTranspose') || !flow.varies(node.inputs[0])) return undefined
  const weight = node.inputs[1]?.shape ?? []
  const nodes = new Set([node])
  let output = node
  let next = flow.onlyUser(output)
  const batchNorm = next?.op === 'BatchNormalization'
  if (batchNorm && next !== undefined) {
    nodes.add(next)
    output = next
    next = flow.onlyUser(output)
  }
  const activation = activationBehind(flow, output)
  if (activation !== undefined) {
    for (const part of activation.nodes) nodes.add(part)
    output = activation.output
  }
  const strides = intsAttribute(node.attributes, 'strides') ?? [1, 1]
  const groups = intAttribute(node.attributes, 'group', 1)
  return {
    kind: 'convolution',
    properties: {
      kernel: weight.slice(2).filter((dim) => typeof dim === 'number'),
      stride: strides,
      ...channels(node),
      ...(groups > 1 ? { groups } : {}),
      ...(batchNorm ? { batchNorm } : {}),
      ...(activation === undefined ? {} : { activation: activation.name }),
    },
    output,
    nodes,
  }
}

function channels(conv: Node): Record<string, number> {
  const [from, to] = [conv.inputs[0]?.shape[1], conv.outputs[0].shape[1]]
  return typeof from === 'number' && typeof to === 'number' ? { inputChannels: from, outputChannels: to } : {}
}

/** An activation that all data of `node` pass through next. */
export function activationBehind(flow: Dataflow, node: Node): Activation | undefined {
  const next = flow.postDominator(node)
  const activation = activationAt(flow, next)
  if (activation?.input === node && [...activation.nodes].every((part) => flow.has(part))) {
    // Every reader is part of the activation.
    return flow.users(node).every((user) => activation.nodes.has(user)) ? activation : undefined
  }
  // x·σ(x): the gate comes first, the product after it.
  return undefined
}

/** Pooling over windows or over everything. */
export function poolingAt(flow: Dataflow, node: Node): Candidate | undefined {
  if (!flow.has(node)) return undefined
  const done = (properties: Candidate['properties']): Candidate => ({
    kind: 'pooling',
    properties,
    output: node,
    nodes: new Set([node]),
  })
  switch (node.op) {
    case 'MaxPool':
    case 'AveragePool':
    case 'LpPool':
      return done({
        pool: node.op === 'MaxPool' ? 'max' : node.op === 'LpPool' ? 'lp' : 'average',
        kernel: intsAttribute(node.attributes, 'kernel_shape') ?? [],
        stride: intsAttribute(node.attributes, 'strides') ?? [1, 1],
      })
    case 'GlobalAveragePool':
      return done({ pool: 'global average' })
    case 'GlobalMaxPool':
      return done({ pool: 'global max' })
    case 'ReduceMean':
    case 'ReduceMax': {
      const axes = reducedAxes(node)
      return done({ pool: node.op === 'ReduceMean' ? 'average' : 'max', ...(axes === undefined ? {} : { axes }) })
    }
    default:
      return undefined
  }
}
