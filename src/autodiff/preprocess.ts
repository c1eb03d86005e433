import type { GraphBuilder, Value } from '../graph/index.js'
import { float32Tensor } from '../tensor/index.js'

/** What lies between an image in [0,1] (RGB) and the model's input: (reorder(image·scale) − mean) / std, mean and std per channel in scaled units. */
export interface Preprocess {
  /** One value per channel, or none for 0. */
  readonly mean: readonly number[]
  /** One value per channel, or none for 1. */
  readonly std: readonly number[]
  readonly scale: number
  /** The order of channels the model takes. */
  readonly channelOrder: 'rgb' | 'bgr'
}

export const noPreprocess: Preprocess = { mean: [], std: [], scale: 1, channelOrder: 'rgb' }

/** Appends the preprocessing of `images` [N,C,H,W]. */
export function preprocessed(b: GraphBuilder, images: Value, { mean, std, scale, channelOrder }: Preprocess): Value {
  const perChannel = (values: readonly number[]): Value => b.constant(float32Tensor([1, values.length, 1, 1], values))
  let x = b.mul(images, scale)
  if (channelOrder === 'bgr')
    x = b.emit(
      'Gather',
      [x, b.ints(Array.from({ length: images.shape[1] as number }, (_, i) => (images.shape[1] as number) - 1 - i))],
      { axis: 1 },
    )
  if (mean.some((value) => value !== 0)) x = b.sub(x, perChannel(mean))
  if (std.some((value) => value !== 1)) x = b.div(x, perChannel(std))
  return x
}
