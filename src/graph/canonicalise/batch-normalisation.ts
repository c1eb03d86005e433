import { float32Tensor, numbersOf } from '../../tensor/index.js'
import { intAttribute } from '../ir.js'
import { madeBy } from './match.js'
import type { Rule } from './rule.js'

/**
 * BatchNormalization with fixed statistics right behind a convolution → the convolution with other weights. Changes what the
 * file's initialisers mean, so only where nobody asks for their gradients.
 */
export const batchNormalisation: Rule = ({ node, inputs, b, users, keepParameters }) => {
  if (node.op !== 'BatchNormalization' || keepParameters) return undefined
  if (intAttribute(node.attributes, 'training_mode', 0) === 1 || node.outputs.length > 1) return undefined
  const conv = madeBy(inputs[0], 'Conv')
  if (conv === undefined || node.inputs[0] === undefined || users(node.inputs[0]).length > 1) return undefined
  const constants = [conv.inputs[1], ...inputs.slice(1, 5)].map((input) => input?.constant)
  if (constants.some((constant) => constant === undefined) || inputs[0]?.dtype !== 'float32') return undefined
  if (conv.inputs[2] !== undefined && conv.inputs[2].constant === undefined) return undefined
  const [weight, scale, shift, mean, variance] = constants.map((constant) => numbersOf(constant!))
  const channels = scale.length
  const bias = conv.inputs[2]?.constant ? numbersOf(conv.inputs[2].constant) : new Float64Array(channels)
  const epsilon = typeof node.attributes.epsilon === 'number' ? node.attributes.epsilon : 1e-5

  const size = weight.length / channels
  const newWeight = new Float32Array(weight.length)
  const newBias = new Float32Array(channels)
  for (let c = 0; c < channels; c++) {
    const factor = scale[c] / Math.sqrt(variance[c] + epsilon)
    for (let i = c * size; i < (c + 1) * size; i++) newWeight[i] = weight[i] * factor
    newBias[c] = (bias[c] - mean[c]) * factor + shift[c]
  }
  const name = conv.inputs[1]!.name
  return [
    b.emit(
      'Conv',
      [
        conv.inputs[0],
        b.constant(float32Tensor(conv.inputs[1]!.constant!.shape, newWeight), `${name}/normalised`),
        b.constant(float32Tensor([channels], newBias), `${name}/shift`),
      ],
      conv.attributes,
    ),
  ]
}
