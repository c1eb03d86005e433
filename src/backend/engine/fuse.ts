import {
  type Graph,
  type GraphBuilder,
  intAttribute,
  intsAttribute,
  isBatch,
  type Node,
  uniformValue,
  type Value,
} from '../../graph/index.js'
import { float32Tensor, isFloat, numbersOf } from '../../tensor/index.js'
import { channelsFirst, channelsLast, emitChannelsLast } from './channels-last.js'
import { pictureOfPatches, windowed } from './fuse-convolution.js'
import { gatedLinear } from './gated-linear.js'
import { attention, layerNorm, patches, softmax } from './own-operators.js'
import { parallelProducts } from './parallel-products.js'
import { affineOf } from './preprocessing.js'

/**
 * Appends to `b` the forward graph with the engine's own operators in place of what they compute: patch embedding and convolutions (preprocessing
 * folded into the weights of the first), pools, LayerNorm, attention, softmax. Returns images and logits there.
 */
export function fuse(b: GraphBuilder, model: Graph): { images: Value; logits: Value } {
  const [input] = model.inputs
  const images = b.input('images', 'float32', input.shape)
  const made = new Map<Value, Value>([[input, images]])
  const translate = (value: Value): Value => {
    let own = made.get(value)
    if (own === undefined) {
      own = b.adopt(value)
      made.set(value, own)
    }
    return own
  }
  const steps = plan(model, input)
  const convolves = steps.some(({ node, replacement }) => node.op === 'Conv' && replacement !== undefined)
  if (convolves && steps.every(({ replacement }) => replacement?.patch === undefined))
    made.set(input, channelsFirst(b, pictureOfPatches(b, images, 1)))
  for (const { node, replacement } of steps) {
    const operands = (replacement?.inputs ?? node.inputs).map((value) => value && translate(value))
    const outputs = b.within(node.name, () => {
      if (replacement !== undefined) return [replacement.emit(b, operands as Value[])]
      const own = emitChannelsLast(b, node, operands)
      return own === undefined ? b.emitAll(node.op, operands, node.attributes, node.outputs.length) : [own]
    })
    for (const [i, own] of outputs.entries()) made.set(node.outputs[i], own)
  }
  return { images, logits: translate(model.outputs[0]) }
}

/** What stands in for the first output of a node: other inputs, which may lie further up, and what is made of them. */
export interface Replacement {
  readonly inputs: readonly (Value | undefined)[]
  /** Side of the patches that it reads the images in. */
  readonly patch?: number
  emit(b: GraphBuilder, inputs: readonly Value[]): Value
}

interface Planned {
  readonly node: Node
  readonly replacement: Replacement | undefined
}

/**
 * The nodes that are still needed once fused ones are replaced, in order. Images lie in one layout: they are read in patches by all that
 * read them, or by none.
 */
function plan(model: Graph, images: Value): Planned[] {
  const patched = planned(model, images, true)
  const readers = readersOf(images, patched, model.outputs)
  const alike = readers.every(({ replacement }) => replacement?.patch === readers[0].replacement?.patch)
  return alike ? patched : planned(model, images, false)
}

/** Those that read the content of a value; who only asks for its shape, or that of what follows from it, does not. */
function readersOf(value: Value, steps: readonly Planned[], outputs: readonly Value[]): Planned[] {
  const read = new Set<Value>(outputs)
  return [...steps].reverse().filter(({ node, replacement }) => {
    if (!node.outputs.some((output) => read.has(output))) return false
    const inputs = replacement?.inputs ?? node.inputs
    for (const input of inputs)
      if (input !== undefined && (isFloat(input.dtype) || input.dtype === 'bool')) read.add(input)
    return inputs.includes(value)
  })
}

function planned(model: Graph, images: Value, inPatches: boolean): Planned[] {
  const products = parallelProducts(model.nodes, model.outputs)
  const wanted = new Set<Value>(model.outputs)
  const steps: Planned[] = []
  for (const node of [...model.nodes].reverse()) {
    if (!node.outputs.some((output) => wanted.has(output))) continue
    const alone = node.outputs.slice(1).every((output) => !wanted.has(output))
    const replacement = alone ? (products.get(node) ?? replacementOf(node, images, inPatches)) : undefined
    for (const input of replacement?.inputs ?? node.inputs) if (input !== undefined) wanted.add(input)
    steps.push({ node, replacement })
  }
  return steps.reverse()
}

function replacementOf(node: Node, images: Value, inPatches: boolean): Replacement | undefined {
  switch (node.op) {
    case 'Conv':
      return (inPatches ? patchEmbedding(node, images) : undefined) ?? windowed(node, images, inPatches)
    case 'ConvTranspose':
    case 'MaxPool':
    case 'AveragePool':
      return windowed(node, images, inPatches)
    case 'MatMul':
      return attentionAt(node)
    case 'Mul':
      return gatedLinear(node)
    case 'LayerNormalization':
    case 'RMSNormalization':
      return normalisation(node)
    case 'Softmax':
      return softmaxOf(node)
    case 'BatchNormalization':
      return batchNormalisation(node)
    case 'GlobalAveragePool':
      return globalPool(node, (b, x, axes) => b.reduceMean(x, axes))
    case 'GlobalMaxPool':
      return globalPool(node, (b, x, axes) => b.reduceMax(x, axes))
    default:
      return undefined
  }
}

function globalPool(node: Node, reduce: (b: GraphBuilder, x: Value, axes: number[]) => Value): Replacement {
  return {
    inputs: node.inputs,
    emit(b, [x]) {
      if (x.shape.length === 4) return channelsFirst(b, reduce(b, channelsLast(b, x), [1, 2]))
      return reduce(
        b,
        x,
        x.shape.slice(2).map((_, i) => i + 2),
      )
    },
  }
}

function softmaxOf(node: Node): Replacement {
  return {
    inputs: node.inputs,
    emit(b, [x]) {
      const rank = x.shape.length
      const axis = (intAttribute(node.attributes, 'axis', -1) + rank) % rank
      if (axis === rank - 1) return softmax(b, x)
      const perm = x.shape.map((_, i) => (i === axis ? rank - 1 : i === rank - 1 ? axis : i))
      return b.transpose(softmax(b, b.transpose(x, perm)), perm)
    },
  }
}

// ---- patch embedding ------------------------------------------------------------------------------------------------------------

/** A convolution of the image whose windows do not overlap, as one product over patches; the affine preprocessing goes into its weights. */
function patchEmbedding(node: Node, images: Value): Replacement | undefined {
  const [x, weight, bias] = node.inputs
  if (x === undefined || weight?.constant === undefined || (bias !== undefined && bias.constant === undefined))
    return undefined
  const [outputs, channels, side, width] = weight.constant.shape
  const strides = intsAttribute(node.attributes, 'strides') ?? []
  const [n, , h, w] = images.shape
  if (weight.constant.shape.length !== 4 || side !== width || side < 2 || strides[0] !== side || strides[1] !== side)
    return undefined
  if (typeof h !== 'number' || typeof w !== 'number' || h % side !== 0 || w % side !== 0) return undefined
  if ((intsAttribute(node.attributes, 'pads') ?? []).some((pad) => pad !== 0)) return undefined
  if (String(node.attributes.auto_pad ?? 'NOTSET') !== 'NOTSET' && node.attributes.auto_pad !== 'VALID')
    return undefined
  if (intAttribute(node.attributes, 'group', 1) !== 1) return undefined
  const affine = affineOf(x, images, channels)
  if (affine === undefined) return undefined

  const given = numbersOf(weight.constant)
  const area = side * side
  const folded = new Float64Array(given.length)
  const shift = bias?.constant === undefined ? new Float64Array(outputs) : Float64Array.from(numbersOf(bias.constant))
  for (let o = 0; o < outputs; o++)
    for (let c = 0; c < channels; c++)
      for (let i = 0; i < area; i++) {
        const value = given[(o * channels + c) * area + i]
        folded[(o * channels + affine.source[c]) * area + i] = value * affine.scale[c]
        shift[o] += value * affine.shift[c]
      }
  const matrix = float32Tensor([outputs, channels * area], Float32Array.from(folded))
  const offsets = float32Tensor([outputs], Float32Array.from(shift))
  return {
    inputs: [images],
    patch: side,
    emit(b, [own]) {
      const product = b.matMul(patches(b, own, side), b.matrixTranspose(b.constant(matrix, 'weight')))
      const tokens = b.reshape(b.add(product, b.constant(offsets, 'bias')), [n, h / side, w / side, outputs])
      return b.transpose(tokens, [0, 3, 1, 2])
    },
  }
}

// ---- normalisation --------------------------------------------------------------------------------------------------------------

function normalisation(node: Node): Replacement | undefined {
  const [x] = node.inputs as Value[]
  const rank = x.shape.length
  const axis = (intAttribute(node.attributes, 'axis', -1) + rank) % rank
  const normal = x.shape.slice(axis)
  if (normal.some(isBatch)) return undefined
  const columns = (normal as number[]).reduce((a, c) => a * c, 1)
  const epsilon = intAttribute(node.attributes, 'epsilon', 1e-5)
  return {
    inputs: node.inputs,
    emit(b, [own, scale, shift]) {
      const rows = b.reshape(own, [...own.shape.slice(0, axis), columns])
      let y = b.reshape(layerNorm(b, rows, epsilon, node.op === 'RMSNormalization'), own.shape)
      if (scale !== undefined && uniformValue(scale, false) !== 1) y = b.mul(y, scale)
      if (shift !== undefined && uniformValue(shift, false) !== 0) y = b.add(y, shift)
      return y
    },
  }
}

/** In inference a factor and a shift for each channel. */
function batchNormalisation(node: Node): Replacement | undefined {
  const [, scale, shift, mean, variance] = node.inputs.map((value) => value?.constant && numbersOf(value.constant))
  if (scale === undefined || shift === undefined || mean === undefined || variance === undefined) return undefined
  const epsilon = intAttribute(node.attributes, 'epsilon', 1e-5)
  const factor = Float32Array.from(scale, (s, c) => s / Math.sqrt(variance[c] + epsilon))
  const offset = Float32Array.from(shift, (s, c) => s - mean[c] * factor[c])
  return {
    inputs: [node.inputs[0]],
    emit(b, [x]) {
      const normalised = (value: Value, shape: number[]): Value =>
        b.add(b.mul(value, b.constant(float32Tensor(shape, factor))), b.constant(float32Tensor(shape, offset)))
      if (x.shape.length === 4) return channelsFirst(b, normalised(channelsLast(b, x), [factor.length]))
      return normalised(x, [1, factor.length, ...x.shape.slice(2).map(() => 1)])
    },
  }
}

// ---- attention ------------------------------------------------------------------------------------------------------------------

/** The largest head of the kernels. */
const LARGEST_HEAD = 128

/** softmax(scale·q·kᵀ)·v ending in this product; nothing else may enter the scores (a bias or a mask runs unfused). */
function attentionAt(node: Node): Replacement | undefined {
  const [p, v] = node.inputs
  const soft = p?.producer
  if (v === undefined || v.constant !== undefined || soft?.op !== 'Softmax') return undefined
  const rank = soft.outputs[0].shape.length
  const axis = intAttribute(soft.attributes, 'axis', -1)
  if (axis !== -1 && axis !== rank - 1) return undefined
  const scores = unscaled(soft.inputs[0] as Value)
  const product = scores.value.producer
  if (product?.op !== 'MatMul') return undefined
  const left = unscaled(product.inputs[0] as Value)
  const right = unscaled(product.inputs[1] as Value)
  if (left.value.constant !== undefined || right.value.constant !== undefined) return undefined
  let scale = scores.scale * left.scale * right.scale
  let [k, keyTransposed] = [right.value, true]
  const swap = right.value.producer
  if (swap?.op === 'Transpose' && swapsLast(intsAttribute(swap.attributes, 'perm'))) {
    const inner = unscaled(swap.inputs[0] as Value)
    k = inner.value
    scale *= inner.scale
    keyTransposed = false
  }
  const q = left.value
  const size = q.shape.at(-1)
  const [queries, length] = [q.shape.at(-2), v.shape.at(-2)]
  if (typeof size !== 'number' || size > LARGEST_HEAD || size % 4 !== 0) return undefined
  if (typeof queries !== 'number' || typeof length !== 'number') return undefined
  if (
    q.shape.length < 3 ||
    q.shape.length > 4 ||
    q.shape.length !== v.shape.length ||
    k.shape.length !== q.shape.length
  )
    return undefined
  const [kLength, kSize] = keyTransposed ? [k.shape.at(-1), k.shape.at(-2)] : [k.shape.at(-2), k.shape.at(-1)]
  if (kLength !== length || kSize !== size || v.shape.at(-1) !== size) return undefined
  const lead = q.shape.slice(0, -2)
  const batched = lead.length === 1 ? isBatch(lead[0]) : isBatch(lead[0]) && typeof lead[1] === 'number'
  if (!batched) return undefined
  return {
    inputs: [q, k, v],
    emit(b, operands) {
      const heads = operands.map((value) => fourAxes(b, value))
      if (keyTransposed) heads[1] = b.matrixTranspose(heads[1])
      const out = b.transpose(attention(b, heads[0], heads[1], heads[2], scale), [0, 2, 1, 3])
      return b.reshape(out, node.outputs[0].shape)
    },
  }
}

const swapsLast = (perm: readonly number[] | undefined): boolean =>
  perm !== undefined &&
  perm.length >= 2 &&
  perm.every((axis, i) => axis === (i === perm.length - 1 ? i - 1 : i === perm.length - 2 ? i + 1 : i))

/** Strips products with and divisions by one number. */
function unscaled(value: Value): { value: Value; scale: number } {
  const node = value.producer
  if (node?.op === 'Mul' || node?.op === 'Div') {
    const [x, y] = node.inputs as Value[]
    const factor = numberOf(y)
    if (factor !== undefined) {
      const inner = unscaled(x)
      return { value: inner.value, scale: node.op === 'Mul' ? inner.scale * factor : inner.scale / factor }
    }
    const first = numberOf(x)
    if (first !== undefined && node.op === 'Mul') {
      const inner = unscaled(y)
      return { value: inner.value, scale: inner.scale * first }
    }
  }
  return { value, scale: 1 }
}

const numberOf = (value: Value): number | undefined =>
  value.constant?.data.length === 1 ? numbersOf(value.constant)[0] : undefined

/** [f·N, L, D] as [N, f, L, D]: how many heads an image has does not matter to the result. */
function fourAxes(b: GraphBuilder, value: Value): Value {
  const [lead, ...rest] = value.shape
  if (value.shape.length === 4 || !isBatch(lead)) return value
  return b.reshape(value, [{ factor: 1 }, lead.factor, ...rest])
}
