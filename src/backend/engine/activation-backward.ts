import type { VjpRule } from '../../autodiff/index.js'
import type { GraphBuilder, Value } from '../../graph/index.js'
import { leavesPixelsOut } from './windows.js'

/** g times an activation's slope at x. */
export function activationBackward(b: GraphBuilder, x: Value, g: Value, kind: string): Value {
  return b.extend('signstep.ActivationBackward', [x, g], { kind }, [{ dtype: 'float32', shape: x.shape }])[0]
}

export const activationRules: Readonly<Record<string, VjpRule>> = {
  Gelu: ({ node, inputs: [x], gradients: [g], b }) => {
    if (x === undefined || g === undefined) return [undefined]
    return [activationBackward(b, x, g, node.attributes.approximate === 'tanh' ? 'gelu_tanh' : 'gelu_erf')]
  },
  // The result says as well as the argument where the slope is 1, and is kept anyway.
  Relu: ({ outputs: [y], gradients: [g], b }) => {
    if (g === undefined) return [undefined]
    const { op, inputs } = g.producer ?? {}
    if (op === 'signstep.MaxPoolBackward' && inputs?.[0] === y) return [g]
    const [sparse, other] = sparseFirst(op === 'Add' ? (inputs as Value[]) : [])
    // With the mask on the other one already, what the sparse one adds and masks are its own pixels alone: nothing touches the rest.
    const sum = sparse === undefined ? g : b.add(activationBackward(b, y, other, 'relu'), sparse)
    return [activationBackward(b, y, sum, 'relu')]
  },
}

/** Of two addends, one of which is the backward of a convolution that leaves pixels out: that one first. */
function sparseFirst(addends: readonly Value[]): readonly Value[] {
  const sparse = addends.filter(({ producer }) => producer !== undefined && leavesPixelsOut(producer))
  return sparse.length === 1 ? [sparse[0], ...addends.filter((addend) => addend !== sparse[0])] : []
}
