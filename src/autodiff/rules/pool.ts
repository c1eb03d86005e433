import {
  type Dim,
  type GraphBuilder,
  intAttribute,
  intsAttribute,
  multiplyDims,
  slidingWindow,
  type Value,
  type Window,
} from '../../graph/index.js'
import { float32Tensor } from '../../tensor/index.js'
import type { VjpContext, VjpRule } from '../rule.js'
import { transposedWindow } from './conv.js'
import { numberDim, outputGradient, range, required, type VjpRules } from './shared.js'

/** Adds each gradient at the place its maximum came from, overlaps included (MaxUnpool would overwrite them). */
const maxPool: VjpRule = (c) => {
  const { b, node } = c
  const [x, g] = [required(c, 0), outputGradient(c)]
  // Row-major indices, whatever order the model itself asked for: they are looked up in a flat row-major tensor.
  const { storage_order: order, ...attributes } = node.attributes
  const indices = (order ? undefined : c.outputs[1]) ?? b.emitAll('MaxPool', [x], attributes, 2)[1]
  const total = x.shape.reduce<Dim>((product, dim) => multiplyDims(product, dim) ?? Number.NaN, 1)
  const count = g.shape.reduce<Dim>((product, dim) => multiplyDims(product, dim) ?? Number.NaN, 1)
  const flat = b.emit('ScatterElements', [b.full([total], 0), b.reshape(indices, [count]), b.reshape(g, [count])], {
    axis: 0,
    reduction: 'add',
  })
  return [b.reshape(flat, x.shape)]
}

/** How many elements of the input (or of input and padding) each position of the window averages over. */
function counts(window: Window, input: readonly number[], withPadding: boolean): number[] {
  const perAxis = input.map((size, axis) => {
    const { kernel, strides, dilations, begins, ends, output } = window
    const [low, high] = withPadding ? [-begins[axis], size + ends[axis]] : [0, size]
    return range(0, output[axis]).map(
      (p) =>
        range(0, kernel[axis]).filter((k) => {
          const at = p * strides[axis] - begins[axis] + k * dilations[axis]
          return at >= low && at < high
        }).length,
    )
  })
  return perAxis.reduce((product, axis) => product.flatMap((n) => axis.map((m) => n * m)), [1])
}

/** Spreads a gradient over the windows it came from: a depthwise transposed convolution with ones. */
function spread(c: VjpContext, g: Value, x: Value, window: Window, input: readonly number[]): Value {
  const channels = numberDim(c, x.shape[1], 'the number of channels')
  const taps = window.kernel.reduce((a, k) => a * k, 1)
  const ones = c.b.constant(float32Tensor([channels, 1, ...window.kernel], new Float32Array(channels * taps).fill(1)))
  return c.b.emit('ConvTranspose', [g, ones], {
    ...transposedWindow(window, input),
    ...(channels > 1 && { group: channels }),
  })
}

const poolWindow = (c: VjpContext, x: Value): { window: Window; input: number[] } => {
  const input = x.shape.slice(2).map((dim) => numberDim(c, dim, 'a spatial size'))
  return {
    window: slidingWindow(c.node.op, c.node.attributes, input, intsAttribute(c.node.attributes, 'kernel_shape') ?? []),
    input,
  }
}

const averagePool: VjpRule = (c) => {
  const { b, node } = c
  const [x, g] = [required(c, 0), outputGradient(c)]
  const { window, input } = poolWindow(c, x)
  const sizes = counts(window, input, intAttribute(node.attributes, 'count_include_pad', 0) === 1)
  const same = sizes.every((n) => n === sizes[0])
  const share = same ? b.mul(g, 1 / sizes[0]) : b.div(g, b.constant(float32Tensor([1, 1, ...window.output], sizes)))
  return [spread(c, share, x, window, input)]
}

/** y = (Σ|x|^p)^(1/p): dx = sign(x)·|x|^(p−1)·g/y^(p−1), zero where y is. */
const lpPool: VjpRule = (c) => {
  const [x, g] = [required(c, 0), outputGradient(c)]
  const { window, input } = poolWindow(c, x)
  const p = intAttribute(c.node.attributes, 'p', 2)
  return [c.b.mul(spread(c, overPower(c.b, g, c.outputs[0], p), x, window, input), powerSlope(c.b, x, p))]
}

function overPower(b: GraphBuilder, g: Value, y: Value, p: number): Value {
  if (p === 1) return g
  const safe = b.emit('Where', [b.emit('Equal', [y, b.scalar(0)]), b.scalar(1), y])
  return b.div(g, p === 2 ? safe : b.emit('Pow', [safe, b.scalar(p - 1)]))
}

function powerSlope(b: GraphBuilder, x: Value, p: number): Value {
  if (p === 2) return x
  const sign = b.emit('Sign', [x])
  return p === 1 ? sign : b.mul(sign, b.emit('Pow', [b.emit('Abs', [x]), b.scalar(p - 1)]))
}

const spatialSize = (c: VjpContext, x: Value): number =>
  x.shape.slice(2).reduce<number>((n, dim) => n * numberDim(c, dim, 'a spatial size'), 1)

const globalAverage: VjpRule = (c) => {
  const x = required(c, 0)
  return [c.b.expand(c.b.mul(outputGradient(c), 1 / spatialSize(c, x)), x.shape)]
}

const globalMax: VjpRule = (c) => {
  const { b } = c
  const x = required(c, 0)
  const chosen = b.cast(b.emit('Equal', [x, c.outputs[0]]), 'float32')
  const ties = b.reduceSum(chosen, range(2, x.shape.length))
  return [b.mul(chosen, b.div(outputGradient(c), ties))]
}

const globalLp: VjpRule = (c) => {
  const p = intAttribute(c.node.attributes, 'p', 2)
  return [c.b.mul(powerSlope(c.b, required(c, 0), p), overPower(c.b, outputGradient(c), c.outputs[0], p))]
}

export const poolRules: VjpRules = {
  MaxPool: maxPool,
  AveragePool: averagePool,
  LpPool: lpPool,
  GlobalAveragePool: globalAverage,
  GlobalMaxPool: globalMax,
  GlobalLpPool: globalLp,
}
