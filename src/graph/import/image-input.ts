import { ModelError, OptionError } from '../../errors/index.js'
import type { OnnxGraph, OnnxValueInfo } from '../../onnx/index.js'
import { isFloat } from '../../tensor/index.js'

/** The image input of a file. */
export interface ImageInput {
  readonly name: string
  /** A number where the file fixes it. */
  readonly batch: number | string
  readonly size: readonly [channels: number, height: number, width: number]
  /** Whether the file has it as [N,H,W,C]. */
  readonly channelsLast: boolean
}

/**
 * @param wanted height and width, for a model that leaves them open
 * @throws ModelError MODEL_UNSUPPORTED, OptionError where `wanted` is not what the model fixes
 */
export function imageInput(graph: OnnxGraph, wanted: readonly [number, number] | undefined, file: string): ImageInput {
  const { name, shape } = onlyInput(graph, file)
  const [batch, second, third, last] = shape
  const channelsLast = isColour(last) && !isColour(second)
  const [channels, ...spatial] = channelsLast ? [last, second, third] : [second, third, last]
  if (typeof channels !== 'number' || channels > 16)
    throw new ModelError('MODEL_UNSUPPORTED', 'the number of channels of the input is not known', {
      subject: file,
      expected: '[N,C,H,W] or [N,H,W,C] with a fixed number of channels',
      found: `${name} [${shape.join(',')}]`,
      cure: 'Export the model with its channels fixed.',
    })
  const [height, width] = spatial.map((size, i) => {
    if (typeof size !== 'number') {
      if (wanted !== undefined) return wanted[i]
      throw new ModelError('MODEL_UNSUPPORTED', 'height and width are open', {
        subject: file,
        expected: 'a fixed size',
        found: `${name} [${shape.join(',')}]`,
        cure: 'Fix them with --input-size, as 224 or 224x320.',
      })
    }
    if (wanted !== undefined && wanted[i] !== size)
      throw new OptionError('OPTION_INVALID', 'is not the size the model fixes', {
        subject: '--input-size',
        expected: `${spatial.join('x')}`,
        found: wanted.join('x'),
      })
    return size
  })
  return { name, batch, size: [channels, height, width], channelsLast }
}

/** Grey, RGB or RGBA. */
const isColour = (size: number | string): boolean => size === 1 || size === 3 || size === 4

function onlyInput(graph: OnnxGraph, file: string): { name: string; shape: readonly (number | string)[] } {
  const [first, second] = graph.inputs
  const described = graph.inputs.map(({ name, shape }) => `${name} [${shape?.join(',') ?? '?'}]`).join(', ')
  if (first === undefined || second !== undefined)
    throw new ModelError('MODEL_UNSUPPORTED', 'the model must have exactly one input, the image', {
      subject: file,
      expected: 'one input [N,C,H,W] or [N,H,W,C]',
      found: described || 'none',
    })
  const { name, shape, dtype }: OnnxValueInfo = first
  if (shape?.length !== 4 || (dtype !== undefined && !isFloat(dtype)))
    throw new ModelError('MODEL_UNSUPPORTED', 'the input is no batch of images', {
      subject: file,
      expected: 'floats [N,C,H,W] or [N,H,W,C]',
      found: `${dtype ?? 'untyped'} ${described}`,
    })
  return { name, shape }
}
