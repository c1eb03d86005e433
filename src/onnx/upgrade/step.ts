import type { DraftNode } from '../draft.js'
import type { Context } from './context.js'

/** A change of the standard that alters how a node is written or what it means. */
export interface Step {
  /** The opset that made the change: nodes written in an older one are rewritten. */
  readonly since: number
  readonly ops: readonly string[]
  /** The node as opset `since` writes it; the last of several nodes makes the results. Steps of later opsets follow. */
  rewrite(node: DraftNode, context: Context): DraftNode | readonly DraftNode[]
}
