import { type Dim, isBatch, multiplyDims, sameDim } from '../dim.js'
import { intAttribute, intsAttribute, type Node } from '../ir.js'
import type { Candidate, Properties } from './block.js'
import { type Dataflow, isLayout, isNode, type Vertex } from './dataflow.js'
import { type Linear, linearAt } from './parts.js'

/** The image cut into patches, each mapped to a vector; tokens laid out, class token and positions added. */
export function patchEmbeddingAt(flow: Dataflow, node: Node): Candidate | undefined {
  const start = patchConvolution(flow, node) ?? unfoldedPatches(flow, node)
  if (start === undefined) return undefined
  let output = start.output
  let extra = 0
  let position = false
  for (let next = flow.postDominator(output); next !== undefined; next = flow.postDominator(output)) {
    const region = flow.between(next, [output])
    if (region === undefined || ![...region].every((part) => isLayout(part) || isConstantShift(flow, part))) break
    for (const part of region) {
      if (part.op === 'Add') position = true
      if (part.op === 'Concat') extra += addedTokens(flow, part)
    }
    output = next
  }
  const nodes = flow.between(output, start.inputs)
  if (nodes === undefined) return undefined
  const { shape } = output.outputs[0]
  const dim = start.properties.dim
  const tokens = shape.length === 3 && shape[2] === dim ? shape[1] : undefined
  return {
    kind: 'patch embedding',
    properties: {
      ...start.properties,
      ...(typeof tokens === 'number' ? { tokens } : {}),
      ...(extra > 0 ? { classTokens: extra } : {}),
      ...(position ? { position } : {}),
    },
    output,
    nodes,
  }
}

interface Start {
  readonly inputs: readonly Vertex[]
  readonly output: Node
  readonly properties: Properties
}

/** A convolution of the image whose patches do not overlap. */
function patchConvolution(flow: Dataflow, node: Node): Start | undefined {
  const image = node.inputs[0]
  if (node.op !== 'Conv' || image === undefined || !isImage(flow, flow.vertexOf(image))) return undefined
  const kernel = node.inputs[1]?.shape.slice(2) ?? []
  const strides = intsAttribute(node.attributes, 'strides') ?? []
  const pads = intsAttribute(node.attributes, 'pads') ?? []
  if (intAttribute(node.attributes, 'group', 1) !== 1 || pads.some((pad) => pad !== 0)) return undefined
  if (kernel.length !== 2 || !kernel.every((size, i) => size === strides[i] && (size as number) > 1)) return undefined
  return {
    inputs: [flow.vertexOf(image)],
    output: node,
    properties: { patch: kernel as number[], ...dimension(node.outputs[0].shape[1]) },
  }
}

/** A linear layer on patches that a reshape to six axes and a transpose have laid out. */
function unfoldedPatches(flow: Dataflow, node: Node): Start | undefined {
  const linear = linearAt(flow, node)
  if (linear === undefined || !isLayout(linear.input)) return undefined
  const source = flow.upThroughLayout(linear.input)
  if (!isImage(flow, source)) return undefined
  const region = flow.between(linear.output, [source])
  const cut = [...(region ?? [])].find(({ op, outputs }) => op === 'Reshape' && outputs[0].shape.length === 6)
  if (cut === undefined) return undefined
  const sizes = cut.outputs[0].shape
  const patch = [sizes[3], sizes[5]].every((size) => typeof size === 'number') ? [sizes[3], sizes[5]] : []
  return {
    inputs: [source],
    output: linear.output,
    properties: { patch: patch as number[], dim: linear.outputSize },
  }
}

/** The input of the graph, or what becomes of it by fixed numbers alone. */
export function isImage(flow: Dataflow, vertex: Vertex): boolean {
  let at: Vertex | undefined = vertex
  for (let steps = 0; isNode(at) && steps < 8; steps++) {
    const simple = isLayout(at) || ['Sub', 'Div', 'Mul', 'Add'].includes(at.op)
    if (!simple || flow.varyingInputs(at).length !== 1) return false
    at = flow.dominator(at)
  }
  return at !== undefined && !isNode(at)
}

const isConstantShift = (flow: Dataflow, node: Node): boolean =>
  (node.op === 'Add' || node.op === 'Mul') && flow.varyingInputs(node).length === 1

/** How many fixed tokens a concatenation puts before or behind those of the image. */
function addedTokens(flow: Dataflow, node: Node): number {
  const axis = intAttribute(node.attributes, 'axis', 0)
  const sizes = node.inputs.filter((input) => !flow.varies(input)).map((input) => input?.shape.at(axis))
  return sizes.reduce<number>((sum, size) => sum + (typeof size === 'number' ? size : 0), 0)
}

/** Four neighbouring tokens joined and mapped by a linear layer, the norm before or behind it included. */
export function patchMergingAt(flow: Dataflow, linear: Linear): Candidate | undefined {
  const before = linear.input
  const normFirst = isNode(before) && before.op === 'LayerNormalization'
  const joined = normFirst ? flow.dominator(before) : before
  if (!isNode(joined) || !isLayout(joined)) return undefined
  const source = flow.upThroughLayout(joined, new Set(flow.users(joined)))
  const sourceShape = isNode(source) ? source.outputs[0].shape : source.shape
  const { shape } = joined.outputs[0]
  const [from, to] = [sourceShape.at(-1), shape.at(-1)]
  if (typeof from !== 'number' || to !== 4 * from || to !== linear.inputSize) return undefined
  if (!fourth(sourceShape, shape) || !joinsNeighbours(flow.between(joined, [source]) ?? [])) return undefined
  let output = linear.output
  const next = flow.onlyUser(flow.downThroughLayout(output))
  const normLast = !normFirst && next?.op === 'LayerNormalization'
  if (normLast && next !== undefined) output = next
  const nodes = flow.between(output, [source])
  if (nodes === undefined) return undefined
  const tokens = shape.length === 3 ? shape[1] : shape.length === 4 ? multiplyDims(shape[1], shape[2]) : undefined
  return {
    kind: 'patch merging',
    properties: {
      inputDim: from,
      dim: linear.outputSize,
      ...(typeof tokens === 'number' ? { tokens } : {}),
      norm: normFirst ? 'before' : normLast ? 'behind' : 'none',
    },
    output,
    nodes,
  }
}

/** Four strided pieces put side by side, or a grid of 2×2 neighbours reshaped and transposed. */
function joinsNeighbours(nodes: Iterable<Node>): boolean {
  return [...nodes].some(({ op, inputs, outputs }) =>
    op === 'Concat' ? inputs.length === 4 : op === 'Reshape' && outputs[0].shape.length >= 5,
  )
}

/** True where `after` has as many elements as `before` (an odd side is padded, so a few more may be there). */
function fourth(before: readonly Dim[], after: readonly Dim[]): boolean {
  const count = (shape: readonly Dim[]) => shape.reduce<number>((n, dim) => n * (isBatch(dim) ? dim.factor : dim), 1)
  const [old, now] = [count(before), count(after)]
  return now >= old && now <= 2 * old && (sameDim(before[0], after[0]) || after.length !== before.length || now > old)
}

const dimension = (dim: Dim): Record<string, number> => (typeof dim === 'number' ? { dim } : {})
