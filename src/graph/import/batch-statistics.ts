import { ModelError } from '../../errors/index.js'
import type { GraphBuilder } from '../builder.js'
import { isBatch } from '../dim.js'
import type { Attributes, Value } from '../ir.js'

/**
 * BatchNormalization in training mode, in primitives: TorchScript writes weight standardisation so, on a weight. ONNX Runtime (1.30,
 * 1.32) computes another mean where nobody reads the running statistics.
 *
 * Outputs: the normalised value, running mean, running variance. Throws ModelError MODEL_UNSUPPORTED where the statistics are those of a
 * batch of samples, because then no sample has a gradient of its own.
 */
export function batchStatistics(
  b: GraphBuilder,
  [x, scale, shift, mean, variance]: readonly Value[],
  attributes: Attributes,
): readonly Value[] {
  const { shape } = x
  if (shape.some((dim, axis) => axis !== 1 && isBatch(dim)))
    throw new ModelError('MODEL_UNSUPPORTED', 'batch normalisation in training mode mixes the samples of a batch', {
      cure: 'Export the model in evaluation mode (model.eval()).',
    })
  const { epsilon = 1e-5, momentum = 0.9 } = attributes as { epsilon?: number; momentum?: number }
  const axes = shape.flatMap((_, axis) => (axis === 1 ? [] : [axis]))
  const perChannel = (value: Value) =>
    b.reshape(
      value,
      shape.map((dim, axis) => (axis === 1 ? dim : 1)),
    )
  const center = b.reduceMean(x, axes)
  const centred = b.sub(x, center)
  const spread = b.reduceMean(b.mul(centred, centred), axes)
  const normal = b.div(centred, b.sqrt(b.add(spread, epsilon)))
  const running = (before: Value, now: Value) =>
    b.add(b.mul(before, momentum), b.mul(b.reshape(now, before.shape), 1 - momentum))
  return [b.add(b.mul(normal, perChannel(scale)), perChannel(shift)), running(mean, center), running(variance, spread)]
}
