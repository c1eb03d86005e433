import type { GraphBuilder, Node, Value } from '../graph/index.js'

/** What a VJP rule sees of the node it differentiates. */
export interface VjpContext {
  readonly node: Node
  readonly inputs: readonly (Value | undefined)[]
  readonly outputs: readonly Value[]
  /** d(scalar)/d(output), the shape of that output; undefined where nothing flows back. At least one is defined. */
  readonly gradients: readonly (Value | undefined)[]
  /** Whether the gradient of input i is wanted. A rule must not emit nodes for one that is not. */
  readonly needs: readonly boolean[]
  readonly b: GraphBuilder
}

/**
 * Emits the vector–Jacobian product of one operator and returns d(scalar)/d(input) for every input that `needs` names, each in
 * the input's own shape (undefined = zero). Only differentiable operators may be emitted, so that the result can be differentiated again.
 */
export type VjpRule = (context: VjpContext) => (Value | undefined)[]
