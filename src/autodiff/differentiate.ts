import { ModelError, nearest } from '../errors/index.js'
import type { GraphBuilder, Node, Value } from '../graph/index.js'
import type { VjpRule } from './rule.js'
import { rules, UnsupportedForm } from './rules/index.js'

/**
 * Reverse-mode differentiation: appends to `b.graph` the nodes that compute d(Σ seeds·values)/d(w) for every w of `wrt`, and returns
 * them in that order (undefined where no path leads there). Only nodes between `wrt` and the seeded values are visited, and only
 * gradients on such paths are formed: asking for the input alone makes no weight gradient.
 *
 * `seeds` maps values to their cotangents, of the value's own shape. The result is made of differentiable operators.
 * `own` holds rules that come before the standard ones: a backend's, for operators it has kernels for.
 * Throws ModelError OPERATOR_NO_GRADIENT for an operator on a path that has no rule.
 */
export function differentiate(
  b: GraphBuilder,
  seeds: ReadonlyMap<Value, Value>,
  wrt: readonly Value[],
  own: Readonly<Record<string, VjpRule>> = {},
): (Value | undefined)[] {
  const nodes = [...b.graph.nodes]
  const reached = new Set<Value>(wrt)
  for (const node of nodes)
    if (node.inputs.some((input) => input !== undefined && reached.has(input)))
      for (const output of node.outputs) if (output.dtype.includes('float')) reached.add(output)
  const gradients = new Map<Value, Value>(seeds)
  const kept = new Set(wrt)
  for (const node of nodes.reverse()) {
    const arriving = node.outputs.map((output) => gradients.get(output))
    if (arriving.every((gradient) => gradient === undefined)) continue
    const needs = node.inputs.map((input) => input !== undefined && reached.has(input) && input.dtype.includes('float'))
    if (!needs.includes(true)) continue
    const contributions = b.within(`grad/${node.name}`, () => apply(node, arriving, needs, b, own))
    for (const output of node.outputs) if (!kept.has(output)) gradients.delete(output)
    for (const [i, contribution] of contributions.entries()) {
      const input = node.inputs[i]
      if (contribution === undefined || input === undefined || !needs[i]) continue
      const sum = gradients.get(input)
      gradients.set(input, sum === undefined ? contribution : b.add(sum, contribution))
    }
  }
  return wrt.map((value) => gradients.get(value))
}

function apply(
  node: Node,
  gradients: readonly (Value | undefined)[],
  needs: readonly boolean[],
  b: GraphBuilder,
  own: Readonly<Record<string, VjpRule>>,
): (Value | undefined)[] {
  const rule = Object.hasOwn(own, node.op) ? own[node.op] : Object.hasOwn(rules, node.op) ? rules[node.op] : undefined
  if (rule === undefined) {
    const near = nearest(node.op, Object.keys(rules))
    throw new ModelError('OPERATOR_NO_GRADIENT', `operator ${node.op} has no gradient rule`, {
      subject: node.name,
      expected: 'operators that can be differentiated between image and logits',
      found: node.op,
      cure: `Export the model without ${node.op}${near === undefined ? '' : `, or with ${near}`}, or add a rule (CONTRIBUTING.md).`,
    })
  }
  try {
    return rule({ node, inputs: node.inputs, outputs: node.outputs, gradients, needs, b })
  } catch (error) {
    if (!(error instanceof UnsupportedForm)) throw error
    throw new ModelError('OPERATOR_NO_GRADIENT', `this form of ${node.op} has no gradient rule: ${error.message}`, {
      subject: node.name,
      cause: error,
    })
  }
}
