import type { VjpRule } from '../../autodiff/index.js'
import type { GraphBuilder, Value } from '../../graph/index.js'
import { activationRules } from './activation-backward.js'
import { windowRules } from './window-operators.js'

/**
 * Operators of the engine's own, for which it has kernels forward and backward. They stand in the graph beside ONNX's, so that the one
 * differentiation of the project makes the backward pass.
 */

/** Images [N,C,H,W] as patches [N, H/p·W/p, C·p·p]: patch by patch, channel, row and column within. */
export function patches(b: GraphBuilder, images: Value, side: number): Value {
  const [n, c, h, w] = images.shape as [Value['shape'][number], number, number, number]
  const shape = [n, (h / side) * (w / side), c * side * side]
  return b.extend('signstep.Patches', [images], { side }, [{ dtype: 'float32', shape }])[0]
}

/** (x − mean) / √(variance + ε) over the last axis (without the mean where `rms`), and 1/√(variance + ε). */
export function layerNorm(b: GraphBuilder, x: Value, epsilon: number, rms: boolean): Value {
  const outputs = [x.shape, x.shape.slice(0, -1)].map((shape) => ({ dtype: 'float32' as const, shape }))
  return b.extend('signstep.LayerNorm', [x], { epsilon, rms: rms ? 1 : 0 }, outputs)[0]
}

/**
 * softmax(scale·q·kᵀ)·v for q [N,heads,Q,D] and k, v [N,heads,L,D]; the result [N,Q,heads,D] lies as the next product wants it. Q is L, or
 * 1 where a class token or a pooling head looks at all others.
 */
export function attention(b: GraphBuilder, q: Value, k: Value, v: Value, scale: number): Value {
  const [n, heads, queries, size] = q.shape
  return b.extend('signstep.Attention', [q, k, v], { scale }, [
    { dtype: 'float32', shape: [n, queries, heads, size] },
    { dtype: 'float32', shape: [n, heads, queries] },
  ])[0]
}

/** silu(a)·b where a and b lie in turns on the last axis, [...,2H] → [...,H]. */
export function swiGlu(b: GraphBuilder, x: Value): Value {
  const shape = [...x.shape.slice(0, -1), (x.shape.at(-1) as number) / 2]
  return b.extend('signstep.SwiGlu', [x], {}, [{ dtype: 'float32', shape }])[0]
}

/** Softmax over the last axis. */
export function softmax(b: GraphBuilder, x: Value): Value {
  return b.extend('signstep.Softmax', [x], {}, [{ dtype: 'float32', shape: x.shape }])[0]
}

/** d loss / d logits; the labels and the loss itself are the attack's own. */
export function lossGradient(b: GraphBuilder, logits: Value): Value {
  return b.extend('signstep.Loss', [logits], {}, [{ dtype: 'float32', shape: logits.shape }])[0]
}

/** Their gradient rules, and those of standard operators whose backward is a kernel too. */
export const ownRules: Readonly<Record<string, VjpRule>> = {
  ...activationRules,
  ...windowRules,
  'signstep.Patches': ({ inputs: [images], gradients: [g], b, node }) => {
    if (images === undefined || g === undefined) return [undefined]
    return b.extend('signstep.Unpatch', [g], node.attributes, [{ dtype: 'float32', shape: images.shape }]).slice()
  },
  'signstep.LayerNorm': ({ node, inputs: [x], outputs, gradients: [g], b }) => {
    if (x === undefined || g === undefined) return [undefined]
    const output = { dtype: 'float32' as const, shape: x.shape }
    return b.extend('signstep.LayerNormBackward', [g, ...outputs], node.attributes, [output]).slice()
  },
  'signstep.SwiGlu': ({ inputs: [x], gradients: [g], b }) => {
    if (x === undefined || g === undefined) return [undefined]
    return b.extend('signstep.SwiGluBackward', [x, g], {}, [{ dtype: 'float32', shape: x.shape }]).slice()
  },
  'signstep.Softmax': ({ inputs: [x], outputs: [y], gradients: [g], b }) => {
    if (x === undefined || g === undefined) return [undefined]
    return b.extend('signstep.SoftmaxBackward', [y, g], {}, [{ dtype: 'float32', shape: x.shape }]).slice()
  },
  'signstep.Attention': ({ node, inputs, outputs, gradients: [g], b }) => {
    if (g === undefined) return [undefined, undefined, undefined]
    const gradients = (inputs as Value[]).map(({ shape }) => ({ dtype: 'float32' as const, shape }))
    return b.extend('signstep.AttentionBackward', [...inputs, ...outputs, g], node.attributes, gradients).slice()
  },
}
