import { float32Tensor } from '../../../tensor/index.js'
import { intAttribute, intsAttribute, type Value } from '../../ir.js'
import { type ComposedNode, fixed, required } from '../composition.js'

/**
 * DeformConv (Dai et al. 2017, arXiv 1703.06211; with a mask Zhu et al. 2019, arXiv 1811.11168): x [N,C,H,W], weights [O,C/group,kh,kw],
 * offsets [N, offset groups·kh·kw·2, H', W'] (y before x), mask [N, offset groups·kh·kw, H', W']. Each tap is a bilinear sample of the image
 * at its own places, zero outside; what the taps sampled is a 1 × 1 convolution's input.
 */
export function deformableConvolution(node: ComposedNode): readonly Value[] {
  const { b, attributes } = node
  const [x, weights, offsets] = [0, 1, 2].map((i) => required(node, i))
  const [bias, mask] = [node.inputs[3], node.inputs[4]]
  const [channels, height, width] = fixed(x, [1, 2, 3], 'the image')
  const [outputs, perGroup, kh, kw] = fixed(weights, [0, 1, 2, 3], 'the weights')
  const [rows, columns] = fixed(offsets, [2, 3], 'the offsets')
  const [strideY, strideX] = intsAttribute(attributes, 'strides') ?? [1, 1]
  const [dilationY, dilationX] = intsAttribute(attributes, 'dilations') ?? [1, 1]
  const [padY, padX] = intsAttribute(attributes, 'pads') ?? [0, 0]
  const groups = intAttribute(attributes, 'offset_group', 1)
  const taps = kh * kw
  const each = channels / groups
  const n = x.shape[0]

  const sampled: Value[] = []
  for (let g = 0; g < groups; g++) {
    const image = groups === 1 ? x : b.slice(x, [g * each], [(g + 1) * each], [1])
    for (let tap = 0; tap < taps; tap++) {
      const [i, j] = [Math.floor(tap / kw), tap % kw]
      const place = 2 * (g * taps + tap)
      const offset = b.transpose(b.slice(offsets, [place], [place + 2], [1]), [0, 2, 3, 1])
      // GridSample counts from −1 to 1 between the centres of the first and the last pixel, x before y.
      const base = new Float32Array(rows * columns * 2)
      for (let p = 0; p < rows * columns; p++) {
        base[2 * p] = (p % columns) * strideX - padX + j * dilationX
        base[2 * p + 1] = Math.floor(p / columns) * strideY - padY + i * dilationY
      }
      const scale = [2 / Math.max(1, width - 1), 2 / Math.max(1, height - 1)]
      const swapped = b.emit('Gather', [offset, b.ints([1, 0])], { axis: 3 })
      const at = b.add(swapped, b.constant(float32Tensor([1, rows, columns, 2], base), 'taps'))
      const grid = b.sub(b.mul(at, b.constant(float32Tensor([2], scale), 'pixel')), 1)
      const values = b.emit('GridSample', [image, grid], { mode: 'linear', padding_mode: 'zeros', align_corners: 1 })
      const weight = mask && b.slice(mask, [g * taps + tap], [g * taps + tap + 1], [1])
      sampled.push(weight === undefined ? values : b.mul(values, weight))
    }
  }
  // [N, groups, taps, channels of a group, …] → channel by channel, its taps together, as the weights have them.
  const stacked = b.reshape(b.concat(sampled, 1), [n, groups, taps, each, rows, columns])
  const columnsOf = b.reshape(b.transpose(stacked, [0, 1, 3, 2, 4, 5]), [n, channels * taps, rows, columns])
  const matrix = b.reshape(weights, [outputs, perGroup * taps, 1, 1])
  return [b.emit('Conv', [columnsOf, matrix, bias], { group: intAttribute(attributes, 'group', 1) })]
}
