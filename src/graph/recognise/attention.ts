import type { Dim } from '../dim.js'
import { intAttribute, type Node, type Value } from '../ir.js'
import type { Candidate, Properties } from './block.js'
import { type Dataflow, isLayout, isNode, type Vertex } from './dataflow.js'
import { type Linear, linearAt, normalisationAt } from './parts.js'
import { windowProperties } from './window.js'

/** What may stand between the products and the softmax: scale, bias, mask, guard, reshape. */
const scoreOps = new Set(['Add', 'Sub', 'Mul', 'Div', 'Where', 'IsNaN', 'Max', 'Min', 'Clip', 'MatMul', 'Gemm'])
/** What may stand between a projection and its product: scale, norm (cosine or LayerNorm), rotary embedding, bias. */
const projectionOps = new Set([
  ...['Add', 'Sub', 'Mul', 'Div', 'Neg', 'Clip', 'Max', 'Sqrt', 'Pow', 'Abs', 'Reciprocal'],
  ...['ReduceL2', 'ReduceSum', 'ReduceMean', 'LpNormalization', 'LayerNormalization', 'RMSNormalization'],
  ...['Conv', 'BatchNormalization', 'Relu', 'Gelu', 'Elu', 'AveragePool', 'ReduceSumSquare', 'HardSwish'],
])

/** The two products of scaled dot-product attention and what joins them. */
interface Core {
  readonly query: Value
  readonly key: Value
  readonly value: Value
  /** Last node of the core: the product of probabilities and values. */
  readonly output: Node
  /** [..., queries, keys] */
  readonly scores: readonly Dim[]
  readonly properties: Properties
}

/** Attention anchored at `node`: a Softmax between two products of activations, or an Attention operator. */
export function attentionAt(flow: Dataflow, node: Node): Candidate | undefined {
  if (!flow.has(node)) return undefined
  const core = node.op === 'Softmax' ? coreAround(flow, node) : node.op === 'Attention' ? fusedCore(node) : undefined
  if (core === undefined) return undefined

  const projections = new Set<Node>()
  const ends = new Set<Vertex>()
  for (const operand of [core.query, core.key, core.value]) {
    const found = projectionsOf(flow, operand)
    if (found === undefined) ends.add(flow.upThroughLayout(flow.vertexOf(operand)))
    else
      for (const { input, product } of found) {
        ends.add(input)
        projections.add(product)
      }
  }
  const projected = outputProjection(flow, core.output)
  const output = projected?.output ?? flow.downThroughLayout(core.output)
  const inner = flow.between(output, [...ends])
  if (inner === undefined) return undefined

  // Windows are cut out before the projections and put together behind the last one.
  const sources = new Set([...ends].map((end) => flow.upThroughLayout(end, inner)))
  const end = flow.downThroughLayout(output)
  const outer = flow.between(end, [...sources])
  const nodes = outer ?? inner
  const layout = [...nodes].filter((part) => isLayout(part))
  const window = windowProperties(flow, core.scores, layout)
  return {
    kind: window === undefined ? 'attention' : 'window attention',
    properties: {
      ...shapeProperties(core, projected),
      ...core.properties,
      ...(projections.size > 0 ? { projections: projections.size } : {}),
      ...([...inner].some((part) => normalisesProjection(flow, part)) ? { queryKeyNorm: true } : {}),
      ...(window ?? {}),
      ...(sources.size > 1 ? { cross: true } : {}),
    },
    output: outer === undefined ? output : end,
    nodes,
  }
}

function normalisesProjection(flow: Dataflow, node: Node): boolean {
  return node.op === 'ReduceL2' || node.op === 'LpNormalization' || normalisationAt(flow, node) !== undefined
}

function coreAround(flow: Dataflow, softmax: Node): Core | undefined {
  const rank = softmax.outputs[0].shape.length
  const axis = intAttribute(softmax.attributes, 'axis', -1)
  if (rank < 3 || (axis !== -1 && axis !== rank - 1)) return undefined

  const added: Value[] = []
  let score: Node | undefined
  for (let at = softmax.inputs[0]?.producer, steps = 0; at !== undefined && steps < 12; steps++) {
    const inputs = flow.varyingInputs(at)
    if (at.op === 'MatMul' && inputs.length === 2) {
      score = at
      break
    }
    if (inputs.length !== 1 || !(scoreOps.has(at.op) || isLayout(at))) return undefined
    if (at.op === 'Add')
      added.push(...at.inputs.filter((input): input is Value => input !== undefined && !flow.varies(input)))
    at = inputs[0].producer
  }
  if (score === undefined) return undefined

  let product: Node | undefined
  for (let at: Node = softmax, steps = 0; steps < 12; steps++) {
    const next = flow.postDominator(at)
    if (next === undefined) return undefined
    if (next.op === 'MatMul' && flow.varyingInputs(next).length === 2) {
      product = next
      break
    }
    if (!scoreOps.has(next.op) && !isLayout(next)) return undefined
    at = next
  }
  if (product === undefined) return undefined
  // Of the product's operands the one that does not come from the softmax.
  const [first, second] = product.inputs as [Value, Value]
  const value = comesFrom(flow, first, softmax) ? second : first
  if (comesFrom(flow, value, softmax)) return undefined
  return {
    query: score.inputs[0]!,
    key: score.inputs[1]!,
    value,
    output: product,
    scores: score.outputs[0].shape,
    properties: addedProperties(added),
  }
}

function comesFrom(flow: Dataflow, value: Value, softmax: Node): boolean {
  for (let at: Vertex | undefined = flow.vertexOf(value), steps = 0; isNode(at) && steps < 12; steps++) {
    if (at === softmax) return true
    if (flow.orderOf(at) < flow.orderOf(softmax)) return false
    at = flow.dominator(at)
  }
  return false
}

/** A bias for each pair of tokens, and a mask that differs from window to window. */
function addedProperties(added: readonly Value[]): Properties {
  const properties: Record<string, boolean> = {}
  for (const { shape } of added) {
    const [queries, keys] = shape.slice(-2)
    if (shape.length < 2 || queries === 1 || keys === 1) continue
    const lead = shape.slice(0, -2)
    const heads = lead.at(-1)
    if (lead.length >= 2 && heads === 1 && lead.some((dim) => dim !== 1)) properties.mask = true
    else if (lead.length > 0 && lead.slice(0, -1).every((dim) => dim === 1)) properties.bias = true
    else properties.mask = true
  }
  return properties
}

function fusedCore(node: Node): Core | undefined {
  const [query, key, value] = node.inputs
  if (query === undefined || key === undefined || value === undefined) return undefined
  const [from, to] = [query.shape.at(-2), key.shape.at(-2)]
  if (from === undefined || to === undefined) return undefined
  const heads = query.shape.length === 4 ? query.shape[1] : intAttribute(node.attributes, 'q_num_heads', 1)
  return {
    query,
    key,
    value,
    output: node,
    scores: [query.shape[0], heads, from, to],
    properties: node.inputs[3] === undefined ? {} : { mask: true },
  }
}

/** The linear layers an operand of attention is made by; undefined where it is made otherwise. */
function projectionsOf(flow: Dataflow, operand: Value): Linear[] | undefined {
  const found: Linear[] = []
  const seen = new Set<Vertex>()
  const queue: Vertex[] = [flow.vertexOf(operand)]
  for (let vertex = queue.pop(); vertex !== undefined; vertex = queue.pop()) {
    if (seen.has(vertex)) continue
    seen.add(vertex)
    if (!isNode(vertex) || seen.size > 60) return undefined
    const linear = linearAt(flow, vertex)
    if (linear !== undefined) {
      found.push(linear)
      continue
    }
    if (!projectionOps.has(vertex.op) && !isLayout(vertex)) return undefined
    queue.push(...flow.sources(vertex))
  }
  return found
}

/** The linear layer behind attention, past layout, a norm or a gate. */
function outputProjection(flow: Dataflow, core: Node): Linear | undefined {
  let at: Node = core
  for (let steps = 0; steps < 8; steps++) {
    const next = flow.onlyUser(at) ?? flow.postDominator(at)
    if (next === undefined) return undefined
    const linear = linearAt(flow, next)
    if (linear !== undefined) return linear
    const scaled = next.op === 'Mul' && flow.varyingInputs(next).length === 1
    if (!isLayout(next) && !scaled && normalisationAt(flow, next) === undefined) return undefined
    at = next
  }
  return undefined
}

function shapeProperties(core: Core, projected: Linear | undefined): Properties {
  const properties: Record<string, number> = {}
  const rank = core.scores.length
  const [queries, keys] = core.scores.slice(-2)
  const headDim = core.query.shape.at(-1)
  const dim = projected?.inputSize
  const listed = rank >= 4 ? core.scores[rank - 3] : undefined
  if (typeof listed === 'number') properties.heads = listed
  else if (typeof headDim === 'number' && dim !== undefined && dim % headDim === 0) properties.heads = dim / headDim
  if (typeof headDim === 'number') properties.headDim = headDim
  if (typeof queries === 'number') properties.tokens = queries
  if (typeof keys === 'number' && keys !== queries) properties.keyTokens = keys
  if (projected !== undefined) properties.dim = projected.outputSize
  return properties
}
