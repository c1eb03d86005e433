import { float32Tensor } from '../../tensor/index.js'
import type { GraphBuilder } from '../builder.js'
import { type Dim, isBatch } from '../dim.js'
import { intAttribute, type Value } from '../ir.js'
import type { Rule } from './rule.js'
import { uniformValue } from './uniform.js'

/** Hides a score without making a fully masked row NaN. */
const HIDDEN = -3.4e38

/**
 * Attention (opset 23, written by PyTorch's newer exporters) → its two products and the softmax between them: one form for every
 * exporter, and one that has gradients. Caches, soft caps and further outputs are left alone.
 */
export const attention: Rule = ({ node, inputs, b, keepParameters }) => {
  const [query, key, value, mask] = inputs
  if (node.op !== 'Attention' || query === undefined || key === undefined || value === undefined) return undefined
  const softcap = node.attributes.softcap
  if (query.dtype !== 'float32' || node.outputs.length > 1 || inputs.slice(4).some((input) => input !== undefined))
    return undefined
  if (typeof softcap === 'number' && softcap !== 0) return undefined

  const q = withHeads(b, query, intAttribute(node.attributes, 'q_num_heads', 1))
  const [heads, queries, size] = q.shape.slice(1)
  if (isBatch(heads) || isBatch(queries) || isBatch(size)) return undefined
  const keyHeads = intAttribute(node.attributes, 'kv_num_heads', 1)
  const k = repeatHeads(b, withHeads(b, key, keyHeads), heads)
  const v = repeatHeads(b, withHeads(b, value, keyHeads), heads)
  const keys = k.shape[2]
  if (isBatch(keys)) return undefined

  const { scale } = node.attributes
  const factor = typeof scale === 'number' && scale !== 0 ? scale : size ** -0.5
  let scores = b.matMul(b.mul(q, factor), b.matrixTranspose(k))
  if (mask !== undefined) scores = masked(b, scores, mask, keepParameters)
  if (intAttribute(node.attributes, 'is_causal', 0) === 1) scores = b.add(scores, causalMask(b, queries, keys))
  const output = b.matMul(b.emit('Softmax', [scores], { axis: -1 }), v)
  if (query.shape.length === 4) return [output]
  return [b.reshape(b.transpose(output, [0, 2, 1, 3]), node.outputs[0].shape)]
}

/** [N, length, heads·size] → [N, heads, length, size]; four axes are so already. */
function withHeads(b: GraphBuilder, x: Value, heads: number): Value {
  if (x.shape.length === 4) return x
  const [batch, length, width] = x.shape
  return b.transpose(b.reshape(x, [batch, length, heads, (width as number) / heads]), [0, 2, 1, 3])
}

/** Grouped-query attention: each key head serves several query heads. */
function repeatHeads(b: GraphBuilder, x: Value, heads: number): Value {
  const [batch, given, length, size] = x.shape
  if (given === heads || isBatch(given)) return x
  const repeated: readonly Dim[] = [batch, given, heads / given, length, size]
  return b.reshape(b.expand(b.unsqueeze(x, [2]), repeated), [batch, heads, length, size])
}

function masked(b: GraphBuilder, scores: Value, mask: Value, keepParameters: boolean): Value {
  if (mask.dtype !== 'bool') return b.add(scores, mask)
  if (uniformValue(mask, keepParameters) === 1) return scores
  return b.add(scores, b.where(mask, b.scalar(0), HIDDEN))
}

function causalMask(b: GraphBuilder, queries: number, keys: number): Value {
  const hidden = Float32Array.from({ length: queries * keys }, (_, i) => (i % keys > Math.floor(i / keys) ? HIDDEN : 0))
  return b.constant(float32Tensor([queries, keys], hidden), 'causal')
}
