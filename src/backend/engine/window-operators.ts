import type { VjpRule } from '../../autodiff/index.js'
import type { Dim, GraphBuilder, Value, Window } from '../../graph/index.js'
import { activationBackward } from './activation-backward.js'
import { windowAttributes, windowOf } from './windows.js'

const picture = (n: Dim, [height, width]: readonly number[], channels: Dim) => [
  { dtype: 'float32' as const, shape: [n, height, width, channels] },
]

/** Pictures [N,H,W,I] under the windows of a weight [O,kh,kw,I]. */
export function convolution(b: GraphBuilder, x: Value, weight: Value, window: Window): Value {
  return b.extend(
    'signstep.Convolution',
    [x, weight],
    windowAttributes(window),
    picture(x.shape[0], window.output, weight.shape[0]),
  )[0]
}

/** What pictures [N,H,W,I] get back from those [N,H',W',O] that a convolution makes of them; weight and window are the convolution's. */
export function convolutionBackward(
  b: GraphBuilder,
  g: Value,
  weight: Value,
  window: Window,
  size: readonly number[],
): Value {
  const attributes = { ...windowAttributes(window), size }
  return b.extend(
    'signstep.ConvolutionBackward',
    [g, weight],
    attributes,
    picture(g.shape[0], size, weight.shape[3]),
  )[0]
}

/** The greatest of every window of pictures [N,H,W,C]. */
export function maxPool(b: GraphBuilder, x: Value, window: Window): Value {
  const [n, , , channels] = x.shape
  return b.extend('signstep.MaxPool', [x], windowAttributes(window), picture(n, window.output, channels))[0]
}

/** The mean of every window of pictures [N,H,W,C]; `whole`: padding counts as zeros. */
export function averagePool(b: GraphBuilder, x: Value, window: Window, whole: boolean): Value {
  const [n, , , channels] = x.shape
  const attributes = { ...windowAttributes(window), whole: whole ? 1 : 0, size: x.shape.slice(1, 3) as number[] }
  return b.extend('signstep.AveragePool', [x], attributes, picture(n, window.output, channels))[0]
}

export const windowRules: Readonly<Record<string, VjpRule>> = {
  'signstep.Convolution': ({ node, inputs: [x, weight], gradients: [g], b }) => {
    if (x === undefined || weight === undefined || g === undefined) return [undefined]
    const size = x.shape.slice(1, 3) as number[]
    return [convolutionBackward(b, g, weight, windowOf(node.attributes), size), undefined]
  },
  'signstep.ConvolutionBackward': ({ node, inputs: [, weight], gradients: [g], b }) => {
    if (weight === undefined || g === undefined) return [undefined]
    return [convolution(b, g, weight, windowOf(node.attributes)), undefined]
  },
  'signstep.MaxPool': ({ node, inputs: [x], outputs: [y], gradients: [g], b }) => {
    if (x === undefined || g === undefined) return [undefined]
    // Behind a ReLU: its mask costs less here, and often nothing, where there are fewer pixels.
    const masked = x.producer?.op === 'Relu' ? activationBackward(b, y, g, 'relu') : g
    return b
      .extend('signstep.MaxPoolBackward', [x, masked], node.attributes, [{ dtype: 'float32', shape: x.shape }])
      .slice()
  },
  'signstep.AveragePool': ({ node, inputs: [x], gradients: [g], b }) => {
    if (x === undefined || g === undefined) return [undefined]
    return b
      .extend('signstep.AveragePoolBackward', [g], node.attributes, [{ dtype: 'float32', shape: x.shape }])
      .slice()
  },
}
