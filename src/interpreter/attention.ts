import { broadcastOffsets, type Call, input, int, make, type Operator, transpose } from './array.js'
import { matMul } from './matrix.js'
import type { NdArray } from './nd-array.js'
import { concatenate } from './shape.js'

const viewed = (x: NdArray, shape: readonly number[]): NdArray => make(x.dtype, shape, x.data)

/** [batch, length, heads·size] → [batch, heads, length, size]; four axes are so already. */
function headsFirst(x: NdArray, heads: number): NdArray {
  if (x.shape.length === 4) return x
  const [batch, length, width] = x.shape
  return transpose(viewed(x, [batch, length, heads, width / heads]), [0, 2, 1, 3])
}

/**
 * What is added to the scores [batch, heads, queries, keys]: the mask, −∞ beyond the causal frontier and −∞ on padded keys. A mask may
 * be shorter than the keys; the keys it does not reach are hidden.
 */
function biasOf(call: Call, [batch, heads, queries, keys]: readonly number[]): Float64Array {
  const [mask, pastKey, , valid] = call.inputs.slice(3)
  const bias = new Float64Array(batch * heads * queries * keys)
  if (mask !== undefined) {
    const reach = Math.min(keys, mask.shape[mask.shape.length - 1])
    const offsets = broadcastOffsets([batch, heads, queries, reach], mask.shape)
    for (let i = 0; i < bias.length; i++) {
      const key = i % keys
      const value = key < reach ? mask.data[offsets[Math.floor(i / keys) * reach + key]] : undefined
      const hidden = value === undefined || (mask.dtype === 'bool' && value === 0)
      bias[i] = hidden ? Number.NEGATIVE_INFINITY : mask.dtype === 'bool' ? 0 : value
    }
  }
  const causal = int(call, 'is_causal', 0) === 1
  const past = pastKey?.shape[2] ?? 0
  for (let i = 0; i < bias.length; i++) {
    const key = i % keys
    const query = Math.floor(i / keys) % queries
    const present = valid?.data[Math.floor(i / (keys * queries * heads))] ?? keys
    const before = valid === undefined || pastKey !== undefined ? past : present - queries
    if (key >= present || (causal && key > query + before)) bias[i] = Number.NEGATIVE_INFINITY
  }
  return bias
}

/** Softmax of every row of scores plus bias. A row that is hidden altogether gives zeros. */
function weightsOf(scores: Float64Array, bias: Float64Array, keys: number): Float64Array {
  const weights = new Float64Array(scores.length)
  for (let row = 0; row < scores.length; row += keys) {
    const shown = (k: number): boolean => bias[row + k] !== Number.NEGATIVE_INFINITY
    let highest = Number.NEGATIVE_INFINITY
    for (let k = 0; k < keys; k++) if (shown(k)) highest = Math.max(highest, scores[row + k] + bias[row + k])
    let total = 0
    for (let k = 0; k < keys; k++)
      if (shown(k)) {
        weights[row + k] = Math.exp(scores[row + k] + bias[row + k] - highest)
        total += weights[row + k]
      }
    if (total !== 0) for (let k = 0; k < keys; k++) weights[row + k] /= total
  }
  return weights
}

/**
 * Scaled dot-product attention (Vaswani et al. 2017) with masks, soft cap, grouped heads and caches. Outputs: Y, the keys and values
 * with the cache before them, and the scores at the stage that qk_matmul_output_mode names.
 */
const attention: Operator = (call) => {
  const flat = input(call, 0).shape.length === 3
  const kvHeads = int(call, 'kv_num_heads', 0)
  const extended = (past: NdArray | undefined, x: NdArray): NdArray => (past ? concatenate([past, x], 2) : x)
  const q = headsFirst(input(call, 0), int(call, 'q_num_heads', 0))
  const k = extended(call.inputs[4], headsFirst(input(call, 1), kvHeads))
  const v = extended(call.inputs[5], headsFirst(input(call, 2), kvHeads))
  const [batch, heads, queries, size] = q.shape
  const [, groups, keys] = k.shape
  // Query heads that share a key head lie side by side: stacked, they are one taller matrix.
  const stacked = [batch, groups, (heads / groups) * queries]
  const scale = int(call, 'scale', 0) || 1 / Math.sqrt(size)
  const cap = int(call, 'softcap', 0)

  const products = matMul(viewed(q, [...stacked, size]), transpose(k, [0, 1, 3, 2])).data.map((s) => s * scale)
  const capped = cap === 0 ? products : products.map((s) => cap * Math.tanh(s / cap))
  const scoreShape = [batch, heads, queries, keys]
  const bias = biasOf(call, scoreShape)
  const weights = weightsOf(capped, bias, keys)
  const result = matMul(make(q.dtype, [...stacked, keys], weights), v)
  const y = viewed(result, [batch, heads, queries, v.shape[3]])
  const merged = flat ? viewed(transpose(y, [0, 2, 1, 3]), [batch, queries, heads * v.shape[3]]) : y

  const stages = [products, capped, capped.map((s, i) => s + bias[i]), weights]
  const copy = (x: NdArray): NdArray => make(x.dtype, x.shape, x.data.slice())
  return [merged, copy(k), copy(v), make(q.dtype, scoreShape, stages[int(call, 'qk_matmul_output_mode', 0)])].slice(
    0,
    call.outputs,
  )
}

/**
 * Rotary position embedding (Su et al. 2021): pairs of a head's elements turn by the angle of their position. A pair is (i, i + half)
 * or, interleaved, (2i, 2i + 1); elements beyond rotary_embedding_dim stay.
 */
const rotaryEmbedding: Operator = (call) => {
  const given = input(call, 0)
  const [cosines, sines] = [input(call, 1), input(call, 2)]
  const positions = call.inputs[3]
  const x = headsFirst(given, int(call, 'num_heads', 0))
  const [, heads, length, size] = x.shape
  const half = (int(call, 'rotary_embedding_dim', 0) || size) / 2
  const interleaved = int(call, 'interleaved', 0) === 1
  const data = x.data.slice()
  for (let row = 0; row < data.length / size; row++) {
    // Without position ids the tables hold one row a token: [batch, length, half].
    const token = Math.floor(row / (heads * length)) * length + (row % length)
    const angles = (positions?.data[token] ?? token) * half
    for (let i = 0; i < half; i++) {
      const first = row * size + (interleaved ? 2 * i : i)
      const second = first + (interleaved ? 1 : half)
      const [a, b] = [x.data[first], x.data[second]]
      const [cos, sin] = [cosines.data[angles + i], sines.data[angles + i]]
      data[first] = cos * a - sin * b
      data[second] = sin * a + cos * b
    }
  }
  const turned = make(x.dtype, x.shape, data)
  return given.shape.length === 4 ? turned : viewed(transpose(turned, [0, 2, 1, 3]), given.shape)
}

export const attentions: Record<string, Operator> = { Attention: attention, RotaryEmbedding: rotaryEmbedding }
