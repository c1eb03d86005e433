import type { GraphBuilder } from '../builder.js'
import type { Node, Value } from '../ir.js'

/** One node as a rule sees it. */
export interface Site {
  /** The node of the graph being rewritten. */
  readonly node: Node
  /** Its inputs in the new graph: what is above the node has been rewritten already. */
  readonly inputs: readonly (Value | undefined)[]
  readonly b: GraphBuilder
  /** Nodes of the old graph that read `value` (a value of the old graph). */
  users(value: Value): readonly Node[]
  /** The content of initialisers must stay as the file gives it: gradients are taken with respect to them. */
  readonly keepParameters: boolean
}

/**
 * Looks upward from one node and returns what its outputs become, or undefined where the rule does not apply. What it leaves
 * behind unused is removed later, so a rule never has to ask whether an intermediate result is read elsewhere.
 */
export type Rule = (site: Site) => readonly Value[] | undefined
