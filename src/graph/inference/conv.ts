import { multiplyDims, sameDim, showDim, showShape } from '../dim.js'
import { intAttribute } from '../ir.js'
import {
  type Call,
  type InferenceRules,
  type Inferred,
  intsOr,
  mismatch,
  numbersOnly,
  required,
  requireRank,
} from './call.js'
import { slidingWindow } from './window.js'

function conv(call: Call): Inferred[] {
  const [x, w] = [required(call, 0), required(call, 1)]
  requireRank(call, x, 3)
  requireRank(call, w, x.shape.length, x.shape.length)
  const [batch, channels, ...spatial] = x.shape
  // In the gradient of a weight the batch takes the place of the channels.
  const [filters, depth] = w.shape
  const kernel = numbersOnly(call, w.shape.slice(2), 'kernel sizes')
  const expected = multiplyDims(depth, intAttribute(call.attributes, 'group', 1))
  if (expected === undefined || !sameDim(channels, expected))
    throw mismatch(
      call,
      'channels do not fit the weight',
      `${expected && showDim(expected)}`,
      `${showDim(channels)} in ${x.name}`,
    )
  const { output } = slidingWindow(call.op, call.attributes, numbersOnly(call, spatial, 'spatial sizes'), kernel)
  return [{ dtype: x.dtype, shape: [batch, filters, ...output] }]
}

function convTranspose(call: Call): Inferred[] {
  const [x, w] = [required(call, 0), required(call, 1)]
  requireRank(call, x, 3)
  requireRank(call, w, x.shape.length, x.shape.length)
  const [batch, channels, ...spatial] = x.shape
  const [depth, filters, ...kernel] = numbersOnly(call, w.shape, 'weight sizes')
  if (channels !== depth)
    throw mismatch(call, 'channels do not fit the weight', `${depth}`, `${showDim(channels)} in ${showShape(x.shape)}`)
  const zeros = spatial.map(() => 0)
  const ones = spatial.map(() => 1)
  const strides = intsOr(call, 'strides', ones)
  const dilations = intsOr(call, 'dilations', ones)
  const extra = intsOr(call, 'output_padding', zeros)
  const pads = intsOr(call, 'pads', [...zeros, ...zeros])
  const same = String(call.attributes.auto_pad ?? '').startsWith('SAME')
  const sizes = numbersOnly(call, spatial, 'spatial sizes').map((size, i) =>
    same
      ? size * strides[i]
      : strides[i] * (size - 1) + extra[i] + (kernel[i] - 1) * dilations[i] + 1 - pads[i] - pads[spatial.length + i],
  )
  const output = intsOr(call, 'output_shape', sizes)
  return [{ dtype: x.dtype, shape: [batch, filters * intAttribute(call.attributes, 'group', 1), ...output] }]
}

/** Convolutions. */
export const convRules: InferenceRules = { Conv: conv, ConvTranspose: convTranspose }
