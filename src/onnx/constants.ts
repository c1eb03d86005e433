import { ModelError } from '../errors/index.js'
import { float32Tensor, int64Tensor, type Tensor } from '../tensor/index.js'
import type { DraftGraph, DraftNode } from './draft.js'

/** Turns every Constant node, inner graphs included, into an initialiser of the name of its output. */
export function constantsToInitialisers(graph: DraftGraph, source: string): void {
  for (const inner of graph.nested()) {
    inner.nodes = inner.nodes.filter((node) => {
      if (node.op !== 'Constant' || node.domain !== '') return true
      inner.initialisers.set(node.outputs[0] ?? '', constantOf(node, source))
      return false
    })
  }
}

function constantOf(node: DraftNode, source: string): Tensor {
  const { value, value_float, value_floats, value_int, value_ints } = node.attributes
  if (typeof value === 'object' && 'dtype' in value) return value
  if (typeof value_float === 'number') return float32Tensor([], [value_float])
  if (typeof value_int === 'number') return int64Tensor([value_int], [])
  if (Array.isArray(value_floats)) return float32Tensor([value_floats.length], value_floats)
  if (Array.isArray(value_ints)) return int64Tensor(value_ints)
  throw new ModelError('MODEL_UNSUPPORTED', 'a constant that is no dense tensor of numbers', {
    subject: `${source}, node '${node.name}' (Constant)`,
    expected: 'value, value_float(s) or value_int(s)',
    found: Object.keys(node.attributes).join(', ') || 'no attribute',
  })
}
