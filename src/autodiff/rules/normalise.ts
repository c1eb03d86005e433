import { type GraphBuilder, intAttribute, type Value } from '../../graph/index.js'
import { float32Tensor } from '../../tensor/index.js'
import type { VjpContext, VjpRule } from '../rule.js'
import { normalAxis, numberDim, outputGradient, range, required, unsupported, type VjpRules } from './shared.js'

/**
 * Backward of x̂ = (x − mean)·inverse over `axes`, from the gradient of x̂:
 * dx = inverse·(dx̂ − mean(dx̂) − x̂·mean(dx̂·x̂)).
 */
function centred(b: GraphBuilder, gradient: Value, normalised: Value, inverse: Value, axes: readonly number[]): Value {
  const correction = b.mul(normalised, b.reduceMean(b.mul(gradient, normalised), axes))
  return b.mul(b.sub(b.sub(gradient, b.reduceMean(gradient, axes)), correction), inverse)
}

const layerNormalization: VjpRule = (c) => {
  const { b, node } = c
  const [x, scale, bias] = [required(c, 0), required(c, 1), c.inputs[2]]
  const rank = x.shape.length
  const axis = normalAxis(intAttribute(node.attributes, 'axis', -1), rank)
  const axes = range(axis, rank)
  const [, mean, inverse] =
    c.outputs.length === 3 ? c.outputs : b.emitAll('LayerNormalization', c.inputs, node.attributes, 3)
  const [g, gMean, gInverse] = c.gradients
  // With scale 1 and no bias the output is x̂ itself.
  const plain = isUniform(scale, 1) && (bias === undefined || isUniform(bias, 0))
  const normalised = (): Value => (plain ? c.outputs[0] : b.mul(b.sub(x, mean), inverse))
  let dx: Value | undefined
  const add = (value: Value): void => {
    dx = dx === undefined ? value : b.add(dx, value)
  }
  if (c.needs[0]) {
    if (g) add(centred(b, isUniform(scale, 1) ? g : b.mul(g, scale), normalised(), inverse, axes))
    const size = axes.reduce((n, i) => n * numberDim(c, x.shape[i], 'a normalised axis'), 1)
    if (gMean) add(b.expand(b.mul(gMean, 1 / size), x.shape))
    // d(inverse)/dx = −inverse³·(x − mean)/size
    if (gInverse) add(b.mul(normalised(), b.mul(b.mul(gInverse, b.mul(inverse, inverse)), -1 / size)))
  }
  return [
    dx,
    g && c.needs[1] ? b.sumTo(b.mul(g, normalised()), scale.shape) : undefined,
    g && bias && c.needs[2] ? b.sumTo(g, bias.shape) : undefined,
  ]
}

function isUniform(value: Value, number: number): boolean {
  if (value.parameter || value.constant === undefined) return false
  return (value.constant.data as Float32Array).every((element) => element === number)
}

/** y = x·r·scale, r = (mean(x²) + ε)^(−½): dx = r·ĝ − x·r³·mean(ĝ·x), ĝ = g·scale. */
const rmsNormalization: VjpRule = (c) => {
  const { b, node } = c
  const [x, scale, g] = [required(c, 0), required(c, 1), outputGradient(c)]
  const axes = range(normalAxis(intAttribute(node.attributes, 'axis', -1), x.shape.length), x.shape.length)
  const square = b.add(b.reduceMean(b.mul(x, x), axes), intAttribute(node.attributes, 'epsilon', 1e-5))
  const r = b.emit('Reciprocal', [b.sqrt(square)])
  const scaled = b.mul(g, scale)
  const normalised = b.mul(x, r)
  return [
    c.needs[0] ? b.mul(b.sub(scaled, b.mul(normalised, b.reduceMean(b.mul(scaled, normalised), axes))), r) : undefined,
    c.needs[1] ? b.sumTo(b.mul(g, normalised), scale.shape) : undefined,
  ]
}

interface Statistics {
  readonly normalised: Value
  readonly inverse: Value
}

function statistics(b: GraphBuilder, x: Value, axes: readonly number[], epsilon: number): Statistics {
  const difference = b.sub(x, b.reduceMean(x, axes))
  const inverse = b.emit('Reciprocal', [b.sqrt(b.add(b.reduceMean(b.mul(difference, difference), axes), epsilon))])
  return { normalised: b.mul(difference, inverse), inverse }
}

/** A per-channel vector [C] in the shape that broadcasts over [N,C,…]. */
const perChannel = (b: GraphBuilder, v: Value, rank: number): Value =>
  b.reshape(v, [v.shape[0], ...range(2, rank).map(() => 1)])
const notChannels = (rank: number): number[] => range(0, rank).filter((axis) => axis !== 1)

const instanceNormalization: VjpRule = (c) => {
  const { b, node } = c
  const [x, scale, g] = [required(c, 0), required(c, 1), outputGradient(c)]
  const axes = range(2, x.shape.length)
  const { normalised, inverse } = statistics(b, x, axes, intAttribute(node.attributes, 'epsilon', 1e-5))
  return [
    c.needs[0] ? centred(b, b.mul(g, perChannel(b, scale, x.shape.length)), normalised, inverse, axes) : undefined,
    c.needs[1] ? b.reduceSum(b.mul(g, normalised), notChannels(x.shape.length), false) : undefined,
    c.needs[2] ? b.reduceSum(g, notChannels(x.shape.length), false) : undefined,
  ]
}

const groupNormalization: VjpRule = (c) => {
  const { b, node } = c
  const [x, scale, g] = [required(c, 0), required(c, 1), outputGradient(c)]
  const groups = intAttribute(node.attributes, 'num_groups', 1)
  const [n, channels, ...sizes] = x.shape
  const each = sizes.reduce<number>(
    (product, dim) => product * numberDim(c, dim, 'a spatial size'),
    numberDim(c, channels, 'the number of channels') / groups,
  )
  const grouped = (value: Value): Value => b.reshape(value, [n, groups, each])
  const { normalised, inverse } = statistics(b, grouped(x), [2], intAttribute(node.attributes, 'epsilon', 1e-5))
  const rank = x.shape.length
  return [
    c.needs[0]
      ? b.reshape(centred(b, grouped(b.mul(g, perChannel(b, scale, rank))), normalised, inverse, [2]), x.shape)
      : undefined,
    c.needs[1] ? b.reduceSum(b.mul(g, b.reshape(normalised, x.shape)), notChannels(rank), false) : undefined,
    c.needs[2] ? b.reduceSum(g, notChannels(rank), false) : undefined,
  ]
}

/** Inference: an affine map per channel. Training: the statistics are those of the batch and carry gradient themselves. */
const batchNormalization: VjpRule = (c) => {
  const { b, node } = c
  const [x, scale, , mean, variance] = [0, 1, 2, 3, 4].map((i) => required(c, i))
  const g = outputGradient(c)
  const rank = x.shape.length
  const others = notChannels(rank)
  const epsilon = intAttribute(node.attributes, 'epsilon', 1e-5)
  const weight = perChannel(b, scale, rank)
  if (intAttribute(node.attributes, 'training_mode', 0) === 1) {
    if (c.gradients[1] ?? c.gradients[2]) throw unsupported(c, 'gradients of running statistics')
    const { normalised, inverse } = statistics(b, x, others, epsilon)
    return [
      c.needs[0] ? centred(b, b.mul(g, weight), normalised, inverse, others) : undefined,
      c.needs[1] ? b.reduceSum(b.mul(g, normalised), others, false) : undefined,
      c.needs[2] ? b.reduceSum(g, others, false) : undefined,
      undefined,
      undefined,
    ]
  }
  const inverse = b.emit('Reciprocal', [b.sqrt(b.add(variance, epsilon))])
  const perImage = perChannel(b, inverse, rank)
  const centre = (): Value => b.sub(x, perChannel(b, mean, rank))
  const sumOf = (value: Value): Value => b.reduceSum(value, others, false)
  return [
    c.needs[0] ? b.mul(g, b.mul(weight, perImage)) : undefined,
    c.needs[1] ? b.mul(sumOf(b.mul(g, centre())), inverse) : undefined,
    c.needs[2] ? sumOf(g) : undefined,
    c.needs[3] ? b.neg(b.mul(sumOf(g), b.mul(scale, inverse))) : undefined,
    c.needs[4]
      ? b.mul(b.mul(sumOf(b.mul(g, centre())), scale), b.mul(b.mul(inverse, b.mul(inverse, inverse)), -0.5))
      : undefined,
  ]
}

/** Local response normalisation: y = x·d^(−β), d = bias + α/size·Σ x² over neighbouring channels, as a 1×1 convolution with a band. */
const lrn: VjpRule = (c) => {
  const { b, node } = c
  const [x, g] = [required(c, 0), outputGradient(c)]
  const channels = numberDim(c, x.shape[1], 'the number of channels')
  const [size, alpha, beta] = [
    intAttribute(node.attributes, 'size', 1),
    intAttribute(node.attributes, 'alpha', 1e-4),
    intAttribute(node.attributes, 'beta', 0.75),
  ]
  const [before, after] = [Math.floor((size - 1) / 2), Math.ceil((size - 1) / 2)]
  const ones = range(2, x.shape.length).map(() => 1)
  const band = (transposed: boolean): Value =>
    b.constant(
      float32Tensor(
        [channels, channels, ...ones],
        range(0, channels * channels).map((i) => {
          const [to, from] = [Math.floor(i / channels), i % channels]
          const distance = transposed ? to - from : from - to
          return Number(distance >= -before && distance <= after)
        }),
      ),
    )
  const d = b.add(
    b.mul(b.emit('Conv', [b.mul(x, x), band(false)]), alpha / size),
    intAttribute(node.attributes, 'bias', 1),
  )
  const factor = b.emit('Pow', [d, b.scalar(-beta)])
  const inner = b.emit('Conv', [b.div(b.mul(b.mul(g, x), factor), d), band(true)])
  return [b.sub(b.mul(g, factor), b.mul(b.mul(x, inner), (2 * alpha * beta) / size))]
}

/** x/‖x‖ along an axis; a zero vector has no direction and gets no gradient. */
const lpNormalization: VjpRule = (c: VjpContext) => {
  const { b, node } = c
  const [x, g, y] = [required(c, 0), outputGradient(c), c.outputs[0]]
  const axes = [normalAxis(intAttribute(node.attributes, 'axis', -1), x.shape.length)]
  const p = intAttribute(node.attributes, 'p', 2)
  const norm = b.emit(p === 1 ? 'ReduceL1' : 'ReduceL2', [x, b.ints(axes)], { keepdims: 1 })
  const along = b.mul(p === 1 ? b.emit('Sign', [x]) : y, b.reduceSum(b.mul(g, y), axes))
  const zero = b.emit('Equal', [norm, b.scalar(0)])
  return [b.emit('Where', [zero, b.scalar(0), b.div(b.sub(g, along), b.where(zero, b.scalar(1), norm))])]
}

export const normaliseRules: VjpRules = {
  LayerNormalization: layerNormalization,
  RMSNormalization: rmsNormalization,
  InstanceNormalization: instanceNormalization,
  GroupNormalization: groupNormalization,
  BatchNormalization: batchNormalization,
  LRN: lrn,
  LpNormalization: lpNormalization,
}
