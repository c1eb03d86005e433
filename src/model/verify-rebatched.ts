import type { Preprocess } from '../autodiff/index.js'
import { forRuntime } from '../backend/index.js'
import { ModelError } from '../errors/index.js'
import { exportModel, type Graph, type ImportedModel } from '../graph/index.js'
import type { OnnxModel } from '../onnx/index.js'
import { encodeModel } from '../onnx/index.js'

/** Float32 sums in another order differ by this much of the largest logit. */
const TOLERANCE = 1e-3

const quiet = { intraOpNumThreads: 1, logSeverityLevel: 3 } as const

/** What is compared: a model at work, or one that is only written to a file. */
export interface FreedModel {
  readonly file: string
  readonly imageShape: readonly [number, number, number]
  readonly classes: number
  readonly preprocess: Preprocess
  rawLogits(images: Float32Array): Promise<Float32Array>
}

/**
 * Compares a model whose fixed batch was made free with the file as it is, on random images: at the file's own batch and, as rows of a
 * larger batch, once more. Throws ModelError MODEL_UNSUPPORTED where they disagree. Where ONNX Runtime is missing, which a GPU can do without,
 * `notes` is told that nothing was compared.
 */
export async function verifyRebatched(
  model: FreedModel,
  onnx: OnnxModel,
  { rebatched, logits, probabilities, channelsLast }: ImportedModel,
  notes: string[],
): Promise<void> {
  if (rebatched === undefined) return
  const runtime = await import('onnxruntime-node').catch(() => undefined)
  if (runtime === undefined) {
    notes.push(
      `that the batch of ${rebatched.original} could be made free was not checked: onnxruntime-node is missing`,
    )
    return
  }
  const { InferenceSession, Tensor } = runtime
  const batch = rebatched.original
  const [c, h, w] = model.imageShape
  const images = Float32Array.from({ length: 2 * batch * c * h * w }, (_, i) => 0.5 + 0.5 * Math.sin(i * 12.9898))
  const session = await InferenceSession.create(encodeModel(onnx), quiet)
  const expected: number[] = []
  for (const half of [0, 1]) {
    const part = preprocessed(images.slice((half * images.length) / 2, ((half + 1) * images.length) / 2), model)
    const input = channelsLast
      ? new Tensor('float32', turned(part, c, h * w), [batch, h, w, c])
      : new Tensor('float32', part, [batch, c, h, w])
    const result = await session.run({ [onnx.graph.inputs[0].name]: input }, [logits])
    expected.push(...(result[logits].data as Float32Array))
  }
  await session.release()
  const raw = await model.rawLogits(images)
  const found = probabilities ? softmax(raw, model.classes) : raw
  const largest = expected.reduce((max, value) => Math.max(max, Math.abs(value)), 1e-6)
  const worst = expected.reduce((max, value, i) => Math.max(max, Math.abs(value - found[i])), 0)
  if (worst <= TOLERANCE * largest) return
  throw new ModelError('MODEL_UNSUPPORTED', `the fixed batch of ${batch} could not be made free`, {
    subject: model.file,
    expected: 'the same logits at twice the batch',
    found: `a difference of ${(worst / largest).toExponential(1)} of the largest logit`,
    cure: 'Export the model with a dynamic batch axis.',
  })
}

/** The model of a forward graph that no backend has taken up: run by ONNX Runtime when its logits are asked for. */
export function freedModel(file: string, forward: Graph, preprocess: Preprocess): FreedModel {
  const imageShape = forward.inputs[0].shape.slice(1) as unknown as [number, number, number]
  const [{ name, shape }] = forward.outputs
  return {
    file,
    imageShape,
    classes: shape[1] as number,
    preprocess,
    async rawLogits(images) {
      const { InferenceSession, Tensor } = await import('onnxruntime-node')
      const session = await InferenceSession.create(encodeModel(exportModel(forRuntime(forward))), quiet)
      const count = images.length / imageShape.reduce((a, b) => a * b, 1)
      const feeds = { [forward.inputs[0].name]: new Tensor('float32', images, [count, ...imageShape]) }
      const logits = (await session.run(feeds))[name].data as Float32Array
      await session.release()
      return logits
    },
  }
}

/** [N,C,area] as [N,area,C]. */
function turned(images: Float32Array, channels: number, area: number): Float32Array {
  return images.map((_, i) => {
    const [pixel, c] = [Math.floor(i / channels), i % channels]
    return images[(Math.floor(pixel / area) * channels + c) * area + (pixel % area)]
  })
}

/** Of each row of `classes` logits. */
function softmax(logits: Float32Array, classes: number): Float32Array {
  const out = new Float32Array(logits.length)
  for (let from = 0; from < logits.length; from += classes) {
    const row = logits.subarray(from, from + classes)
    const most = row.reduce((a, b) => Math.max(a, b), Number.NEGATIVE_INFINITY)
    const weights = row.map((logit) => Math.exp(logit - most))
    const sum = weights.reduce((a, b) => a + b, 0)
    out.set(
      weights.map((weight) => weight / sum),
      from,
    )
  }
  return out
}

/** What the graph does in front of the model's own input, on plain arrays. */
function preprocessed(
  images: Float32Array,
  { imageShape: [channels, height, width], preprocess }: FreedModel,
): Float32Array {
  const { mean, std, scale, channelOrder } = preprocess
  const plane = height * width
  return images.map((_, i) => {
    const c = Math.floor(i / plane) % channels
    const source = channelOrder === 'bgr' ? i + (channels - 1 - 2 * c) * plane : i
    return (images[source] * scale - (mean[c] ?? 0)) / (std[c] ?? 1)
  })
}
