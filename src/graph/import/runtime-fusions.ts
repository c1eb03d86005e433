import { ModelError } from '../../errors/index.js'
import type { Dim } from '../dim.js'
import { type Attributes, intAttribute, type Value } from '../ir.js'
import { type ComposedNode, type Composition, numberOf, pick, required } from './composition.js'

/**
 * Operators that ONNX Runtime's graph optimiser writes into the files it saves (domain com.microsoft, its ContribOperators.md), in
 * operators of the standard: what was fused there is recognised again here like any other export's.
 */
export const runtimeFusions: Readonly<Record<string, Composition>> = {
  FusedMatMul: fusedMatMul,
  TransposeMatMul: fusedMatMul,
  FusedGemm: (node) => {
    const product = node.b.emit('Gemm', node.inputs, pick(node.attributes, 'alpha', 'beta', 'transA', 'transB'))
    const named = (name: string) => numberOf(node, `activation_${name}`)
    return [activation(node, product, { alpha: named('alpha'), beta: named('beta') })]
  },
  FusedConv: (node) => {
    const [x, w, bias, residual] = node.inputs
    const windows = ['auto_pad', 'dilations', 'group', 'kernel_shape', 'pads', 'strides']
    const product = node.b.emit('Conv', [x, w, bias], pick(node.attributes, ...windows))
    const [alpha, beta] = (node.attributes.activation_params as readonly number[] | undefined) ?? []
    return [activation(node, residual === undefined ? product : node.b.add(product, residual), { alpha, beta })]
  },
  Gelu: (node) => [gelu(node, required(node, 0))],
  BiasGelu: (node) => [gelu(node, node.b.add(required(node, 0), required(node, 1)))],
  FastGelu: (node) => [gelu(node, biased(node, required(node, 0), 1), 'tanh')],
  GemmFastGelu: (node) => [gelu(node, biased(node, node.b.matMul(required(node, 0), required(node, 1)), 2), 'tanh')],
  QuickGelu: (node) => {
    const x = required(node, 0)
    return [node.b.mul(x, node.b.emit('Sigmoid', [node.b.mul(x, numberOf(node, 'alpha') ?? 1.702)]))]
  },
  BiasAdd: (node) => [biased(node, biased(node, required(node, 0), 1), 2)],
  BiasSplitGelu: (node) => {
    const [left, right] = halves(node, biased(node, required(node, 0), 1))
    return [node.b.mul(left, gelu(node, right))]
  },
  BiasSoftmax: (node) => {
    const x = required(node, 0)
    const axis = intAttribute(node.attributes, 'axis', 1)
    if (axis !== -1 && axis !== x.shape.length - 1)
      throw refused('softmax over more than the last axis', 'axis -1', `axis ${axis}`)
    return [node.b.emit('Softmax', [node.b.add(x, required(node, 1))], { axis: -1 })]
  },
  LayerNormalization: (node) => node.b.emitAll('LayerNormalization', node.inputs, node.attributes),
  SimplifiedLayerNormalization: (node) => [
    node.b.emit('RMSNormalization', node.inputs, pick(node.attributes, 'axis', 'epsilon')),
  ],
  SkipLayerNormalization: (node) => {
    const [, , gamma, beta] = node.inputs
    const sum = biased(node, biased(node, required(node, 0), 1), 4)
    return skipped(node.b.emit('LayerNormalization', [sum, gamma, beta], normal(node)), sum)
  },
  SkipSimplifiedLayerNormalization: (node) => {
    const sum = biased(node, biased(node, required(node, 0), 1), 3)
    return skipped(node.b.emit('RMSNormalization', [sum, node.inputs[2]], normal(node)), sum)
  },
  GroupNorm: groupNorm,
  RotaryEmbedding: (node) => {
    const [x, positions, cosines, sines] = node.inputs
    if (intAttribute(node.attributes, 'scale', 1) !== 1) throw refused('scaled rotary embedding', 'scale 1', 'another')
    const known = pick(node.attributes, 'interleaved', 'num_heads', 'rotary_embedding_dim')
    return [node.b.emit('RotaryEmbedding', [x, cosines, sines, positions], known)]
  },
  Attention: packedAttention,
  MultiHeadAttention: multiHeadAttention,
}

const refused = (what: string, expected: string, found: string): ModelError =>
  new ModelError('OPERATOR_UNSUPPORTED', `${what} is not read`, {
    expected,
    found,
    cure: 'Take the model as it was before ONNX Runtime optimised it.',
  })

/** x plus input i, where the node has it. */
function biased({ b, inputs }: ComposedNode, x: Value, i: number): Value {
  const bias = inputs[i]
  return bias === undefined ? x : b.add(x, bias)
}

const gelu = ({ b }: ComposedNode, x: Value, approximate = 'none'): Value => b.emit('Gelu', [x], { approximate })

const normal = (node: ComposedNode): Attributes => ({ axis: -1, epsilon: numberOf(node, 'epsilon') ?? 1e-12 })

/** Outputs normalised, mean, 1/σ, sum: the middle two are for training and nobody reads them in inference. */
const skipped = (normalised: Value, sum: Value): readonly (Value | undefined)[] => [
  normalised,
  undefined,
  undefined,
  sum,
]

function halves({ b }: ComposedNode, x: Value): readonly Value[] {
  return b.emitAll('Split', [x], { axis: x.shape.length - 1, num_outputs: 2 }, 2)
}

/** The activation behind a fused product, named by the attribute `activation`. */
function activation(
  { b, attributes }: ComposedNode,
  x: Value,
  { alpha, beta }: { alpha: number | undefined; beta: number | undefined },
): Value {
  const name = (attributes.activation as string | undefined) ?? ''
  const defined = Object.fromEntries(
    Object.entries({ alpha, beta }).filter(([, value]) => value !== undefined),
  ) as Attributes
  switch (name) {
    case '':
      return x
    case 'Relu':
    case 'Sigmoid':
    case 'Tanh':
    case 'HardSwish':
      return b.emit(name, [x])
    case 'LeakyRelu':
    case 'HardSigmoid':
      return b.emit(name, [x], defined)
    case 'Clip':
      return b.emit('Clip', [x, b.scalar(alpha ?? -3.4028235e38), b.scalar(beta ?? 3.4028235e38)])
    default:
      throw refused(
        `the fused activation ${name}`,
        'Relu, Sigmoid, Tanh, HardSwish, LeakyRelu, HardSigmoid or Clip',
        name,
      )
  }
}

/** alpha·op(A)·op(B). `transBatchA` moves the first axis to the place before the last. */
function fusedMatMul(node: ComposedNode): readonly Value[] {
  const { b, attributes } = node
  const side = (i: number, letter: 'A' | 'B'): Value => {
    let value = required(node, i)
    const rank = value.shape.length
    if (intAttribute(attributes, `transBatch${letter}`, 0) !== 0)
      value = b.transpose(value, [...Array.from({ length: rank - 2 }, (_, axis) => axis + 1), 0, rank - 1])
    // A vector has nothing to transpose.
    return intAttribute(attributes, `trans${letter}`, 0) !== 0 && rank > 1 ? b.matrixTranspose(value) : value
  }
  return [b.mul(b.matMul(side(0, 'A'), side(1, 'B')), numberOf(node, 'alpha') ?? 1)]
}

/** GroupNorm over channels last (`channels_last` 1, the default) with an optional SiLU behind. */
function groupNorm(node: ComposedNode): readonly Value[] {
  const { b, attributes } = node
  const x = required(node, 0)
  const last = intAttribute(attributes, 'channels_last', 1) !== 0
  const order = x.shape.map((_, i) => i)
  const [first, final] = [
    [0, order.length - 1, ...order.slice(1, -1)],
    [0, ...order.slice(2), 1],
  ]
  const normalised = b.emit('GroupNormalization', [last ? b.transpose(x, first) : x, node.inputs[1], node.inputs[2]], {
    num_groups: intAttribute(attributes, 'groups', 1),
    epsilon: numberOf(node, 'epsilon') ?? 1e-5,
  })
  const own = last ? b.transpose(normalised, final) : normalised
  return [intAttribute(attributes, 'activation', 0) === 1 ? b.mul(own, b.emit('Sigmoid', [own])) : own]
}

/** Attention(input [N,L,C], weights [C,q+k+v], bias): the three projections and the attention in one. */
function packedAttention(node: ComposedNode): readonly Value[] {
  const { b, attributes } = node
  refuseInputs(node, [3, 4, 6], 'a mask or a past')
  const input = required(node, 0)
  const projected = biased(node, b.matMul(input, required(node, 1)), 2)
  const width = projected.shape[2] as number
  const sizes = (attributes.qkv_hidden_sizes as readonly number[] | undefined) ?? [width / 3, width / 3, width / 3]
  const [q, k, v] = b.emitAll('Split', [projected, b.ints(sizes)], { axis: 2 }, 3)
  return [attend(node, q, k, v)]
}

/**
 * MultiHeadAttention: query [N,L,C] with key and value [N,S,C] or [N,heads,S,D], or packed: query [N,L,heads,3,D] alone, or key
 * [N,S,heads,2,D]. The bias [q+k+v] comes before the heads are split.
 */
function multiHeadAttention(node: ComposedNode): readonly Value[] {
  const { b } = node
  refuseInputs(node, [4, 6, 7, 8, 9], 'a padding mask or a past')
  const [query, key, value, bias] = node.inputs
  const whole = required(node, 0)
  const part = (packed: Value, i: number): Value => {
    const [n, length, heads, , size] = packed.shape
    const picked = b.slice(packed, [i], [i + 1], [3])
    return b.reshape(picked, [n, length, (heads as number) * (size as number)])
  }
  let parts: Value[]
  if (whole.shape.length === 5) parts = [0, 1, 2].map((i) => part(whole, i))
  else if (key?.shape.length === 5) parts = [whole, part(key, 0), part(key, 1)]
  else if (key !== undefined && value !== undefined) parts = [query as Value, key, value]
  else throw refused('attention without keys', 'query, key and value', 'a query alone')
  if (bias !== undefined) {
    let from = 0
    parts = parts.map((projected) => {
      if (projected.shape.length !== 3) return projected
      const to = from + (projected.shape[2] as number)
      const own = b.slice(bias, [from], [to], [0])
      from = to
      return b.add(projected, own)
    })
  }
  return [attend(node, parts[0], parts[1], parts[2])]
}

/** Heads apart, softmax(scale·q·kᵀ + attention bias)·v, heads together: [N,L,C]. Both operators have that bias as input 5. */
function attend(node: ComposedNode, q: Value, k: Value, v: Value): Value {
  const { b, attributes } = node
  const heads = intAttribute(attributes, 'num_heads', 0)
  if (heads < 1) throw new ModelError('MODEL_INVALID', 'the attribute num_heads is missing', {})
  if (intAttribute(attributes, 'unidirectional', 0) !== 0) throw refused('causal attention', 'unidirectional 0', '1')
  const apart = (value: Value): Value => {
    if (value.shape.length === 4) return value
    const [n, length, width] = value.shape
    return b.transpose(b.reshape(value, [n, length, heads, (width as number) / heads]), [0, 2, 1, 3])
  }
  const [queries, keys, values] = [apart(q), apart(k), apart(v)]
  const size = queries.shape[3] as number
  const scale = numberOf(node, 'scale') || 1 / Math.sqrt(size) // 0 asks for the default too
  const scores = b.mul(b.matMul(queries, b.matrixTranspose(keys)), scale)
  const bias = node.inputs[5]
  const weights = b.emit('Softmax', [bias === undefined ? scores : b.add(scores, bias)], { axis: -1 })
  const mixed = b.transpose(b.matMul(weights, values), [0, 2, 1, 3])
  const [n, length, , width] = mixed.shape as [Dim, Dim, Dim, number]
  return b.reshape(mixed, [n, length, heads * width])
}

function refuseInputs({ inputs }: ComposedNode, places: readonly number[], what: string): void {
  for (const place of places)
    if (inputs[place] !== undefined) throw refused(`attention with ${what}`, `no input ${place}`, inputs[place].name)
}
