import { N } from '#signstep/graph/index.js'
import { float32Tensor } from '#signstep/tensor/index.js'
import { modelFile } from './linear-model.js'

/** A classifier of images 3×32×32 with a grouped convolution, which the engine's kernels do not cover. */
export function uncoveredModel(): Promise<string> {
  return modelFile([3, 32, 32], (b, images) => {
    const weight = (shape: number[]) =>
      b.parameter(float32Tensor(shape, new Float32Array(shape.reduce((n, d) => n * d)).fill(0.01)), `w${shape.length}`)
    const depthwise = b.emit('Conv', [images, weight([3, 1, 8, 8])], { group: 3, strides: [8, 8] })
    return b.matMul(b.reshape(depthwise, [N, 48]), weight([48, 10]))
  })
}
