import {
  type GraphBuilder,
  intAttribute,
  intsAttribute,
  type Node,
  slidingWindow,
  type Value,
  type Window,
} from '../../graph/index.js'
import { float32Tensor, numbersOf, type Tensor } from '../../tensor/index.js'
import { channelsFirst, channelsLast } from './channels-last.js'
import type { Replacement } from './fuse.js'
import { floats } from './lowering.js'
import { patches } from './own-operators.js'
import { type Affine, affineOf } from './preprocessing.js'
import { averagePool, convolution, convolutionBackward, maxPool } from './window-operators.js'

/** Why no kernel covers a convolution or a pool; undefined where one does. */
export function uncoveredWindow(node: Node): string | undefined {
  const { op, attributes } = node
  const [x, weight, bias] = node.inputs
  const axes = (x?.shape.length ?? 0) - 2
  if (axes !== 2) return `${op} over ${axes} axes`
  if (x?.shape.slice(1).some((dim) => typeof dim !== 'number'))
    return `${op} of pictures whose size depends on the batch`
  if (op === 'Conv' || op === 'ConvTranspose') {
    if (weight?.constant === undefined || (bias !== undefined && bias.constant === undefined))
      return `${op} whose weights are computed`
    if (intAttribute(attributes, 'group', 1) !== 1) return `a grouped ${op}`
  }
  if (op === 'AveragePool' && intAttribute(attributes, 'ceil_mode', 0) !== 0 && countsPadding(node))
    return 'AveragePool that counts its padding, with ceil_mode'
  return undefined
}

const countsPadding = (node: Node): boolean => intAttribute(node.attributes, 'count_include_pad', 0) === 1

const spatial = (value: Value): [number, number] => value.shape.slice(2) as [number, number]

/** What stands for a convolution or a pool: the same over pictures with their channels last. */
export function windowed(node: Node, images: Value, inPatches: boolean): Replacement | undefined {
  if (uncoveredWindow(node) !== undefined) return undefined
  const [x, weight, bias] = node.inputs as [Value, Value | undefined, Value | undefined]
  const kernel = weight?.shape.slice(2) ?? intsAttribute(node.attributes, 'kernel_shape') ?? []
  switch (node.op) {
    case 'Conv': {
      const first = affineOf(x, images, x.shape[1] as number)
      const folded = first && convolutionOfImages(node, images, first, inPatches)
      if (folded !== undefined) return folded
      const tensor = rearranged(weight?.constant as Tensor, [0, 2, 3, 1])
      const window = slidingWindow(node.op, node.attributes, spatial(x), kernel as number[])
      return {
        inputs: [x],
        emit: (b, [own]) => channelsFirst(b, convolved(b, channelsLast(b, own), tensor, bias, window)),
      }
    }
    case 'ConvTranspose': {
      const tensor = rearranged(weight?.constant as Tensor, [0, 2, 3, 1])
      const window = windowOfTransposed(node, x, kernel as number[])
      const size = spatial(node.outputs[0])
      return {
        inputs: [x],
        emit(b, [own]) {
          const y = convolutionBackward(b, channelsLast(b, own), b.constant(tensor, 'weight'), window, size)
          return channelsFirst(b, biased(b, y, bias))
        },
      }
    }
    case 'MaxPool':
    case 'AveragePool': {
      const window = slidingWindow(node.op, node.attributes, spatial(x), kernel as number[])
      return {
        inputs: [x],
        emit(b, [own]) {
          const picture = channelsLast(b, own)
          const y =
            node.op === 'MaxPool' ? maxPool(b, picture, window) : averagePool(b, picture, window, countsPadding(node))
          return channelsFirst(b, y)
        },
      }
    }
    default:
      return undefined
  }
}

/**
 * The first convolution, with the preprocessing in its weights: the factors always; the shifts in the bias where no padding mixes with
 * them, else in front, where they have no backward. `inPatches`: it may choose how the images lie.
 */
function convolutionOfImages(
  node: Node,
  images: Value,
  { source, scale, shift }: Affine,
  inPatches: boolean,
): Replacement | undefined {
  if (new Set(source).size !== source.length || scale.includes(0)) return undefined
  const [, weight, bias] = node.inputs as [Value, Value, Value | undefined]
  const given = rearranged(weight.constant as Tensor, [0, 2, 3, 1])
  const [outputs, taps, channels] = [given.shape[0], given.shape[1] * given.shape[2], given.shape[3]]
  const from = given.data as Float32Array
  const window = slidingWindow(node.op, node.attributes, spatial(images), weight.shape.slice(2) as number[])
  const padded = [...window.begins, ...window.ends].some((pad) => pad !== 0)
  const factors = new Float32Array(from.length)
  const offsets = bias?.constant === undefined ? new Float64Array(outputs) : Float64Array.from(numbersOf(bias.constant))
  const before = new Float32Array(channels)
  for (let c = 0; c < channels; c++) if (padded) before[source[c]] = shift[c] / scale[c]
  for (let o = 0; o < outputs; o++)
    for (let t = 0; t < taps; t++)
      for (let c = 0; c < channels; c++) {
        const at = (o * taps + t) * channels
        factors[at + source[c]] = from[at + c] * scale[c]
        if (!padded) offsets[o] += from[at + c] * shift[c]
      }
  const side = inPatches ? patchSide(window, spatial(images)) : 1
  const own = overPatches(float32Tensor(given.shape, factors), window, side)
  const front = Float32Array.from({ length: channels * side * side }, (_, i) => before[Math.floor(i / (side * side))])
  return {
    inputs: [images],
    ...(inPatches && { patch: side }),
    emit(b, [whole]) {
      let picture = inPatches ? pictureOfPatches(b, whole, side) : channelsLast(b, whole)
      if (before.some((value) => value !== 0))
        picture = b.add(picture, b.constant(float32Tensor([front.length], front), 'shift'))
      const biases = b.constant(float32Tensor([outputs], Float32Array.from(offsets)), 'bias')
      return channelsFirst(b, convolved(b, picture, own.weight, biases, own.window))
    },
  }
}

/** Images in patches as a picture [N, H/side, W/side, C·side·side]: of side 1 the images with their channels last. */
export function pictureOfPatches(b: GraphBuilder, images: Value, side: number): Value {
  const [n, channels, height, width] = images.shape as [Value['shape'][number], number, number, number]
  return b.reshape(patches(b, images, side), [n, height / side, width / side, channels * side * side])
}

/**
 * How the first convolution wants the images. With strides: in patches as large as these, over which it has none. Its backward then writes
 * all channels of a patch at once, where that of single pixels (7×7 with strides of 2: four grids of three channels) would fill a
 * fifth of the narrowest tile.
 */
function patchSide({ strides: [stride, other], dilations }: Window, size: readonly number[]): number {
  const fits = stride === other && dilations.every((d) => d === 1) && size.every((pixels) => pixels % stride === 0)
  return fits ? stride : 1
}

/** A convolution of pictures as one, with stride 1, of their patches of as many pixels as its strides. */
function overPatches(weight: Tensor, window: Window, side: number): { weight: Tensor; window: Window } {
  if (side === 1) return { weight, window }
  const low = window.begins.map((pad) => Math.floor(-pad / side))
  const kernel = window.kernel.map((taps, i) => Math.floor((taps - 1 - window.begins[i]) / side) - low[i] + 1)
  const [outputs, height, width, channels] = weight.shape
  const from = weight.data as Float32Array
  const data = new Float32Array(outputs * kernel[0] * kernel[1] * channels * side * side)
  for (let y = 0; y < height; y++)
    for (let x = 0; x < width; x++) {
      // Where the tap is, in pixels from the first of the patch that the window is placed at.
      const [row, column] = [y - window.begins[0], x - window.begins[1]]
      const [u, v] = [Math.floor(row / side), Math.floor(column / side)]
      const within = (row - u * side) * side + column - v * side
      for (let o = 0; o < outputs; o++)
        for (let c = 0; c < channels; c++) {
          const tap = (o * kernel[0] + u - low[0]) * kernel[1] + v - low[1]
          data[(tap * channels + c) * side * side + within] = from[((o * height + y) * width + x) * channels + c]
        }
    }
  const begins = low.map((start) => 0 - start)
  const ones = [1, 1]
  return {
    weight: float32Tensor([outputs, ...kernel, channels * side * side], data),
    window: { ...window, kernel, strides: ones, dilations: ones, begins, ends: begins },
  }
}

/** Over a picture [N,H,W,I] with a weight [O,kh,kw,I]. One tap at every pixel is a product of its rows. */
function convolved(b: GraphBuilder, picture: Value, weight: Tensor, bias: Value | undefined, window: Window): Value {
  const pixelwise =
    window.kernel.every((taps) => taps === 1) &&
    window.strides.every((stride) => stride === 1) &&
    window.output.every((positions, i) => positions === picture.shape[i + 1])
  const [outputs, , , channels] = weight.shape
  const y = pixelwise
    ? b.matMul(
        picture,
        b.matrixTranspose(b.constant(float32Tensor([outputs, channels], weight.data as Float32Array), 'weight')),
      )
    : convolution(b, picture, b.constant(weight, 'weight'), window)
  return biased(b, y, bias)
}

const biased = (b: GraphBuilder, y: Value, bias: Value | undefined): Value =>
  bias?.constant === undefined ? y : b.add(y, b.constant(floats(bias.constant), 'bias'))

/** The geometry of the convolution that a transposed one is the backward of. */
function windowOfTransposed(node: Node, x: Value, kernel: readonly number[]): Window {
  const { attributes } = node
  const [input, output] = [spatial(x), spatial(node.outputs[0])]
  const ones = [1, 1]
  const strides = intsAttribute(attributes, 'strides') ?? ones
  const dilations = intsAttribute(attributes, 'dilations') ?? ones
  const auto = String(attributes.auto_pad ?? 'NOTSET')
  const extra = intsAttribute(attributes, 'output_padding') ?? [0, 0]
  const reach = input.map((size, i) => strides[i] * (size - 1) + (kernel[i] - 1) * dilations[i] + 1)
  const totals = reach.map((end, i) => Math.max(0, end + extra[i] - output[i]))
  const free = intsAttribute(attributes, 'output_shape') !== undefined || auto.startsWith('SAME')
  const begins = free
    ? totals.map((total) => (auto === 'SAME_LOWER' ? Math.ceil(total / 2) : Math.floor(total / 2)))
    : (intsAttribute(attributes, 'pads')?.slice(0, 2) ?? [0, 0])
  const ends = reach.map((end, i) => end - begins[i] - output[i])
  return { kernel, strides, dilations, begins, ends, output: input }
}

/** A tensor of four axes in another order of them, in float32. */
export function rearranged(tensor: Tensor, perm: readonly number[]): Tensor {
  const shape = perm.map((axis) => tensor.shape[axis])
  const from = tensor.dtype === 'float32' ? (tensor.data as Float32Array) : numbersOf(tensor)
  const strides = tensor.shape.map((_, i) => tensor.shape.slice(i + 1).reduce((a, d) => a * d, 1))
  const [s0, s1, s2, s3] = perm.map((axis) => strides[axis])
  const data = new Float32Array(from.length)
  let at = 0
  for (let i = 0; i < shape[0]; i++)
    for (let j = 0; j < shape[1]; j++)
      for (let k = 0; k < shape[2]; k++)
        for (let l = 0; l < shape[3]; l++) data[at++] = from[i * s0 + j * s1 + k * s2 + l * s3]
  return float32Tensor(shape, data)
}
