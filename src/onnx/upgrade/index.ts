import type { DraftGraph, DraftNode } from '../draft.js'
import { OPSET } from '../model.js'
import { Names } from '../names.js'
import { attributesToInputs } from './attributes-to-inputs.js'
import { Context, floatTypesOf } from './context.js'
import { defaults } from './defaults.js'
import { normalisation } from './normalisation.js'
import { resize } from './resize.js'
import { softmax } from './softmax.js'
import type { Step } from './step.js'

/** The oldest opset that can be read: before 7, arithmetic broadcast by attributes and Dropout and BatchNormalization had a test mode. */
export const OLDEST_OPSET = 7

/**
 * Changes between opsets 7 and 26 that are not listed here add element types, attributes whose default is the old
 * behaviour, or words (onnx.defs.get_all_schemas_with_history() lists them all).
 */
const steps = new Map<string, Step[]>()
for (const step of [...attributesToInputs, ...softmax, ...normalisation, ...resize, ...defaults])
  for (const op of step.ops)
    steps.set(
      op,
      [...(steps.get(op) ?? []), step].sort((a, b) => a.since - b.since),
    )

/** Rewrites every node of the standard domain, inner graphs included, in the form of `OPSET`. Results keep their names. */
export function upgradeGraph(graph: DraftGraph, source: string): void {
  const names = new Names(graph)
  const floatTypes = floatTypesOf(graph)
  for (const inner of [...graph.nested()]) {
    const context = new Context(inner, names, floatTypes, source)
    inner.nodes = inner.nodes.flatMap((node) => upgradeNode(node, context))
  }
}

function upgradeNode(node: DraftNode, context: Context): DraftNode[] {
  if (node.domain !== '' || node.opset >= OPSET) return [node]
  const step = steps.get(node.op)?.find(({ since }) => since > node.opset)
  if (step === undefined) return [{ ...node, opset: OPSET }]
  return [step.rewrite(node, context)].flat().flatMap((next) => upgradeNode({ ...next, opset: step.since }, context))
}
