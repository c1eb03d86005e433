import { broadcastTo, input, int, ints, make, type Operator } from './array.js'
import { reduceOver } from './reduce.js'
import { normalAxis, sizeOf } from './strides.js'

const mean = (data: Float64Array): number => data.reduce((a, b) => a + b, 0) / data.length

/** Normalises over the axes from `axis` on; also returns the mean and the inverse deviation, as the standard's optional outputs. */
const layerNormalization: Operator = (call) => {
  const [x, scale] = [input(call, 0), input(call, 1)]
  const bias = call.inputs[2] && broadcastTo(call.inputs[2], x.shape)
  const factors = broadcastTo(scale, x.shape)
  const axis = normalAxis(int(call, 'axis', -1), x.shape.length)
  const size = sizeOf(x.shape.slice(axis))
  const statistics = x.shape.map((d, i) => (i < axis ? d : 1))
  const [out, means, inverse] = [make(x.dtype, x.shape), make(x.dtype, statistics), make(x.dtype, statistics)]
  for (let row = 0; row < means.data.length; row++) {
    const line = x.data.subarray(row * size, (row + 1) * size)
    const centre = mean(line)
    const factor = 1 / Math.sqrt(mean(line.map((v) => (v - centre) ** 2)) + int(call, 'epsilon', 1e-5))
    means.data[row] = centre
    inverse.data[row] = factor
    for (let i = 0; i < size; i++) {
      const at = row * size + i
      out.data[at] = (line[i] - centre) * factor * factors[at] + (bias?.[at] ?? 0)
    }
  }
  return [out, means, inverse].slice(0, call.outputs)
}

const rmsNormalization: Operator = (call) => {
  const x = input(call, 0)
  const factors = broadcastTo(input(call, 1), x.shape)
  const size = sizeOf(x.shape.slice(normalAxis(int(call, 'axis', -1), x.shape.length)))
  const out = make(x.dtype, x.shape)
  for (let start = 0; start < x.data.length; start += size) {
    const line = x.data.subarray(start, start + size)
    const factor = 1 / Math.sqrt(mean(line.map((v) => v * v)) + int(call, 'epsilon', 1e-5))
    for (let i = 0; i < size; i++) out.data[start + i] = line[i] * factor * factors[start + i]
  }
  return out
}

/** Groups of channels share their statistics; one channel a group is InstanceNormalization. */
const grouped =
  (groupsOf: (channels: number, attribute: number) => number): Operator =>
  (call) => {
    const [x, scale, bias] = [input(call, 0), input(call, 1), input(call, 2)]
    const channels = x.shape[1]
    const plane = sizeOf(x.shape.slice(2))
    const size = (channels / groupsOf(channels, int(call, 'num_groups', 1))) * plane
    const out = make(x.dtype, x.shape)
    for (let start = 0; start < x.data.length; start += size) {
      const block = x.data.subarray(start, start + size)
      const centre = mean(block)
      const factor = 1 / Math.sqrt(mean(block.map((v) => (v - centre) ** 2)) + int(call, 'epsilon', 1e-5))
      for (let i = 0; i < size; i++) {
        const channel = Math.floor((start + i) / plane) % channels
        out.data[start + i] = (block[i] - centre) * factor * scale.data[channel] + bias.data[channel]
      }
    }
    return out
  }

const batchNormalization: Operator = (call) => {
  const [x, scale, bias, runningMean, runningVariance] = [0, 1, 2, 3, 4].map((i) => input(call, i))
  const channels = x.shape[1]
  const plane = sizeOf(x.shape.slice(2))
  const training = int(call, 'training_mode', 0) === 1
  const momentum = int(call, 'momentum', 0.9)
  const [means, variances] = [runningMean.data.slice(), runningVariance.data.slice()]
  const used = { mean: means, variance: variances }
  if (training) {
    used.mean = new Float64Array(channels)
    used.variance = new Float64Array(channels)
    for (let c = 0; c < channels; c++) {
      const values = x.data.filter((_, i) => Math.floor(i / plane) % channels === c)
      used.mean[c] = mean(values)
      used.variance[c] = mean(values.map((v) => (v - used.mean[c]) ** 2))
      means[c] = means[c] * momentum + used.mean[c] * (1 - momentum)
      variances[c] = variances[c] * momentum + used.variance[c] * (1 - momentum)
    }
  }
  const out = make(x.dtype, x.shape)
  for (let i = 0; i < x.data.length; i++) {
    const c = Math.floor(i / plane) % channels
    out.data[i] =
      ((x.data[i] - used.mean[c]) / Math.sqrt(used.variance[c] + int(call, 'epsilon', 1e-5))) * scale.data[c] +
      bias.data[c]
  }
  return [out, make(x.dtype, [channels], means), make(x.dtype, [channels], variances)].slice(0, call.outputs)
}

/** Local response normalisation across channels (Krizhevsky et al. 2012). */
const lrn: Operator = (call) => {
  const x = input(call, 0)
  const [size, alpha, beta, bias] = [
    int(call, 'size', 1),
    int(call, 'alpha', 1e-4),
    int(call, 'beta', 0.75),
    int(call, 'bias', 1),
  ]
  const channels = x.shape[1]
  const plane = sizeOf(x.shape.slice(2))
  return make(
    x.dtype,
    x.shape,
    x.data.map((v, i) => {
      const c = Math.floor(i / plane) % channels
      let squares = 0
      for (
        let k = Math.max(0, c - Math.floor((size - 1) / 2));
        k <= Math.min(channels - 1, c + Math.ceil((size - 1) / 2));
        k++
      )
        squares += x.data[i + (k - c) * plane] ** 2
      return v / (bias + (alpha / size) * squares) ** beta
    }),
  )
}

/** (x − mean) / (deviation + 1e-9) over `axes`. */
const meanVarianceNormalization: Operator = (call) => {
  const x = input(call, 0)
  const axes = ints(call, 'axes') ?? [0, 2, 3]
  const means = broadcastTo(reduceOver(x, axes, true, mean), x.shape)
  const centred = make(
    x.dtype,
    x.shape,
    x.data.map((v, i) => v - means[i]),
  )
  const deviation = (values: Float64Array): number => Math.sqrt(mean(values.map((v) => v * v)))
  const deviations = broadcastTo(reduceOver(centred, axes, true, deviation), x.shape)
  return make(
    x.dtype,
    x.shape,
    centred.data.map((v, i) => v / (deviations[i] + 1e-9)),
  )
}

export const normalise: Record<string, Operator> = {
  LayerNormalization: layerNormalization,
  RMSNormalization: rmsNormalization,
  InstanceNormalization: grouped((channels) => channels),
  GroupNormalization: grouped((_channels, groups) => groups),
  BatchNormalization: batchNormalization,
  LRN: lrn,
  MeanVarianceNormalization: meanVarianceNormalization,
}
