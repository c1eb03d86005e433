import { float32Tensor } from '../../../tensor/index.js'
import { intsAttribute, type Value } from '../../ir.js'
import { type ComposedNode, fixed, knownInts, required } from '../composition.js'

/**
 * Col2Im [N, C·taps, blocks] → [N, C, …image]: overlapping blocks are added up, which is a transposed convolution, depthwise, whose kernel
 * for tap k is one at k.
 */
export function columnsToImage(node: ComposedNode): readonly Value[] {
  const { b, attributes } = node
  const x = required(node, 0)
  const image = knownInts(node, 1, 'the size of the image')
  const block = knownInts(node, 2, 'the size of a block')
  const each = (name: string, value: number) => intsAttribute(attributes, name) ?? image.map(() => value)
  const [strides, dilations] = [each('strides', 1), each('dilations', 1)]
  const pads = intsAttribute(attributes, 'pads') ?? [...image, ...image].map(() => 0)
  const taps = block.reduce((n, size) => n * size, 1)
  const [columns] = fixed(x, [1], 'the columns')
  const channels = columns / taps
  const reach = block.map((size, i) => (size - 1) * dilations[i] + 1)
  const blocks = image.map(
    (size, i) => Math.floor((size + pads[i] + pads[i + image.length] - reach[i]) / strides[i]) + 1,
  )
  const kernel = new Float32Array(columns * taps)
  for (let column = 0; column < columns; column++) kernel[column * taps + (column % taps)] = 1
  const outputPadding = image.map(
    (size, i) => size + pads[i] + pads[i + image.length] - ((blocks[i] - 1) * strides[i] + reach[i]),
  )
  const product = b.emit(
    'ConvTranspose',
    [b.reshape(x, [x.shape[0], columns, ...blocks]), b.constant(float32Tensor([columns, 1, ...block], kernel), 'taps')],
    {
      group: channels,
      strides: [...strides],
      dilations: [...dilations],
      pads: [...pads],
      output_padding: outputPadding,
    },
  )
  return [product]
}
