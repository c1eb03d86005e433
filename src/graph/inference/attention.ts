import { addDims, type Dim, sameDim, showDim, showShape } from '../dim.js'
import { intAttribute, type Value } from '../ir.js'
import { type Call, type InferenceRules, type Inferred, mismatch, numbersOnly, required, requireRank } from './call.js'

interface Heads {
  readonly batch: Dim
  readonly heads: Dim
  readonly length: Dim
  readonly size: Dim
}

/** [batch, heads, length, size], or [batch, length, heads·size] with the number of heads as an attribute. */
function headsOf(call: Call, value: Value, attribute: string): Heads {
  requireRank(call, value, 3, 4)
  if (value.shape.length === 4) {
    const [batch, heads, length, size] = value.shape
    return { batch, heads, length, size }
  }
  const heads = intAttribute(call.attributes, attribute, 0)
  const [width] = numbersOnly(call, value.shape.slice(2), 'width')
  if (heads < 1 || width % heads !== 0)
    throw mismatch(call, `${attribute} does not divide`, `a divisor of ${width}`, `${heads}`)
  return { batch: value.shape[0], heads, length: value.shape[1], size: width / heads }
}

/** Outputs: Y, present key, present value, scores. */
function attention(call: Call): Inferred[] {
  const [query, key, value] = [required(call, 0), required(call, 1), required(call, 2)]
  const q = headsOf(call, query, 'q_num_heads')
  const k = headsOf(call, key, 'kv_num_heads')
  const v = headsOf(call, value, 'kv_num_heads')
  if (!sameDim(q.size, k.size)) throw mismatch(call, 'query and key differ in size', showDim(q.size), showDim(k.size))
  if (!sameDim(k.length, v.length))
    throw mismatch(call, 'key and value differ in length', showDim(k.length), showDim(v.length))
  const past = call.inputs[4]?.shape[2] ?? 0
  const total = addDims(past, k.length)
  if (total === undefined) throw mismatch(call, 'wrong past length', 'a number', showShape(call.inputs[4]?.shape ?? []))
  const { dtype } = query
  const flat = query.shape.length === 3
  const shape = flat
    ? [q.batch, q.length, (q.heads as number) * (v.size as number)]
    : [q.batch, q.heads, q.length, v.size]
  const outputs: Inferred[] = [
    { dtype, shape },
    { dtype, shape: [k.batch, k.heads, total, k.size] },
    { dtype, shape: [v.batch, v.heads, total, v.size] },
    { dtype, shape: [q.batch, q.heads, q.length, total] },
  ]
  return outputs.slice(0, call.outputs)
}

function rotary(call: Call): Inferred[] {
  const x = required(call, 0)
  requireRank(call, x, 3, 4)
  return [{ dtype: x.dtype, shape: x.shape }]
}

/** Attention as one operator. */
export const attentionRules: InferenceRules = { Attention: attention, RotaryEmbedding: rotary }
