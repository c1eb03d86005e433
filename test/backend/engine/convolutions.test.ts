import { describe, expect, it } from 'vitest'
import type { KernelProgram } from '#signstep/backend/engine/program.js'
import { type Attributes, type GraphBuilder, N, type Value } from '#signstep/graph/index.js'
import { presets } from '#signstep/model/preprocess.js'
import { float32Tensor } from '#signstep/tensor/index.js'
import { randomNumbers } from '../../support/random.js'
import { compareProgram } from './compare-program.js'
import { classifier, weights } from './small-classifier.js'

type Build = (b: GraphBuilder, x: Value) => Value

function expectEqual(build: Build, preset = 'cifar10', size = [9, 8], channels = 3): KernelProgram {
  const { logits, gradient, forward, program } = compareProgram(classifier(build, size, channels), presets[preset])
  expect(logits).toBeLessThan(1e-6)
  expect(forward).toBeLessThan(1e-6)
  expect(gradient).toBeLessThan(1e-5)
  return program
}

const conv = (
  b: GraphBuilder,
  x: Value,
  outputs: number,
  kernel: readonly number[],
  attributes: Attributes = {},
): Value =>
  b.emit('Conv', [x, weights(b, [outputs, x.shape[1] as number, ...kernel]), weights(b, [outputs])], attributes)
const relu = (b: GraphBuilder, x: Value): Value => b.emit('Relu', [x])
const ops = (program: KernelProgram): string[] => program.gradient.map(({ op }) => op)

/** Launches that are no products; the gradient of the mean at the end of the model is spread over the pixels by a copy. */
function others(program: KernelProgram): string[] {
  const list = ops(program).filter((op) => ['elementwise', 'copy', 'fill'].includes(op))
  expect(list[0]).toBe('copy')
  return list.slice(1)
}

/** Geometries of a window over 9×8 pixels that leave at least one position. */
function geometries(seed: number, count: number, largestPad: (taps: number) => number): Attributes[] {
  const next = randomNumbers(seed)
  const upTo = (low: number, high: number): number => low + Math.floor(next() * (high - low + 1))
  const found: Attributes[] = []
  while (found.length < count) {
    const kernel_shape = [upTo(1, 4), upTo(1, 4)]
    const pads = [0, 1, 2, 3].map((i) => upTo(0, largestPad(kernel_shape[i % 2])))
    const dilations = [upTo(1, 3), upTo(1, 2)]
    const fits = [9, 8].every((size, i) => size + pads[i] + pads[i + 2] > (kernel_shape[i] - 1) * dilations[i])
    if (fits) found.push({ kernel_shape, pads, dilations, strides: [upTo(1, 3), upTo(1, 3)] })
  }
  return found
}

const shown = (list: readonly Attributes[]): [string, Attributes][] =>
  list.map((attributes) => [
    Object.values(attributes)
      .map((value) => `[${value}]`)
      .join(' '),
    attributes,
  ])

describe('a convolution in a kernel program', () => {
  it.each(shown(geometries(3, 40, (taps) => taps)))(
    'behind another has outputs and image gradient of the graph: kernel, pads, dilations, strides %s',
    (_, attributes) => {
      expectEqual((b, x) => {
        const first = relu(b, conv(b, x, 5, [3, 3], { pads: [1, 1, 1, 1] }))
        return conv(b, first, 4, attributes.kernel_shape as number[], attributes)
      })
    },
  )

  it.each(shown(geometries(4, 20, (taps) => taps)))(
    'of the images has outputs and image gradient of the graph: kernel, pads, dilations, strides %s',
    (_, attributes) => {
      const program = expectEqual((b, x) => conv(b, x, 4, attributes.kernel_shape as number[], attributes))
      expect(program.gradient.at(-1)?.buffers).toContain(program.imageGradient)
    },
  )

  it.each([
    [2, { kernel_shape: [7, 7], strides: [2, 2], pads: [3, 3, 3, 3] }],
    [2, { kernel_shape: [3, 3], strides: [2, 2], pads: [1, 1, 1, 1] }],
    [4, { kernel_shape: [3, 5], strides: [4, 4], pads: [1, 2, 0, 2] }],
    [4, { kernel_shape: [7, 6], strides: [4, 4], auto_pad: 'SAME_UPPER' }],
    [2, { kernel_shape: [2, 3], strides: [2, 2] }],
    [2, { kernel_shape: [1, 1], strides: [2, 2] }],
    [1, { kernel_shape: [3, 3], strides: [2, 1] }],
    [1, { kernel_shape: [3, 3], strides: [2, 2], dilations: [2, 2] }],
    [1, { kernel_shape: [3, 3], strides: [3, 3] }],
  ] as [number, Attributes][])(
    'reads the images in patches of %d pixels, as large as its strides: %j',
    (side, attributes) => {
      const program = expectEqual(
        (b, x) => relu(b, conv(b, x, 4, attributes.kernel_shape as number[], attributes)),
        'imagenet',
        [8, 12],
      )
      expect([program.layout, program.patch]).toEqual(['patches', side])
    },
  )

  it('shares the patches with one that wants the same, and reads pixel by pixel beside anything else', () => {
    const program = expectEqual(
      (b, x) =>
        b.add(
          conv(b, x, 4, [2, 2], { strides: [2, 2] }),
          conv(b, x, 4, [3, 3], { strides: [2, 2], pads: [1, 1, 1, 1] }),
        ),
      'imagenet',
      [8, 12],
    )
    expect(program.patch).toBe(2)
    const other = expectEqual(
      (b, x) =>
        b.add(
          conv(b, x, 4, [2, 2], { strides: [2, 2] }),
          b.emit('AveragePool', [b.concat([x, b.slice(x, [0], [1], [1])], 1)], {
            kernel_shape: [2, 2],
            strides: [2, 2],
          }),
        ),
      'imagenet',
      [8, 12],
    )
    expect(other.patch).toBe(1)
  })

  it('reads images of one channel that a constant spreads over three', () => {
    const spread: Build = (b, x) => b.mul(x, b.constant(float32Tensor([1, 3, 1, 1], [0.5, 2, -1])))
    expectEqual((b, x) => conv(b, spread(b, x), 4, [3, 3], { pads: [1, 1, 1, 1] }), 'none', [8, 12], 1)
    expectEqual((b, x) => conv(b, spread(b, x), 4, [4, 4], { strides: [4, 4] }), 'none', [8, 12], 1)
  })

  it.each(['SAME_UPPER', 'SAME_LOWER', 'VALID'])('pads as auto_pad %s says', (auto_pad) => {
    expectEqual((b, x) => conv(b, conv(b, x, 5, [4, 3], { auto_pad, strides: [2, 1] }), 4, [2, 3], { auto_pad }))
  })

  it('is a product where it looks at one pixel at a time', () => {
    const program = expectEqual((b, x) => conv(b, relu(b, conv(b, x, 6, [1, 1])), 4, [1, 1]), 'none')
    expect(ops(program)).not.toContain('convolution')
    expect(others(program)).toEqual([])
  })

  it('has the preprocessing in its weights, and only where it pads a shift of the images in front', () => {
    const count = (pads: number[]): number =>
      ops(expectEqual((b, x) => conv(b, x, 4, [3, 3], { pads }))).filter((op) => op === 'elementwise').length
    expect(count([1, 1, 1, 1]) - count([0, 0, 0, 0])).toBe(1)
  })

  it.each([
    [[2, 2], {}],
    [[3, 3], { strides: [2, 2], pads: [1, 1, 1, 1], output_padding: [1, 1] }],
    [[1, 2], { strides: [3, 2], pads: [0, 1, 0, 0] }],
    [[3, 2], { strides: [2, 1], dilations: [2, 1], auto_pad: 'SAME_UPPER' }],
    [[2, 2], { strides: [2, 2], output_shape: [17, 17] }],
  ] as [number[], Attributes][])('may be transposed: kernel %j with %j', (kernel, attributes) => {
    expectEqual((b, x) => {
      const first = relu(b, conv(b, x, 5, [3, 3], { strides: [2, 2] }))
      return b.emit('ConvTranspose', [first, weights(b, [5, 4, ...kernel]), weights(b, [4])], attributes)
    })
  })
})

describe('the epilogue of a convolution', () => {
  const same = { pads: [1, 1, 1, 1] }

  it.each([
    ['3×3', [3, 3], same],
    ['1×1', [1, 1], {}],
  ] as [string, number[], Attributes][])(
    'takes in bias, residual and ReLU, and backward the gradient of the shortcut and the mask: %s',
    (_, kernel, attributes) => {
      const program = expectEqual((b, x) => {
        const start = relu(b, conv(b, x, 5, [3, 3], same))
        const inner = relu(b, conv(b, start, 6, kernel, attributes))
        const sum = relu(b, b.add(conv(b, inner, 5, kernel, attributes), start))
        return conv(b, sum, 4, [3, 3])
      }, 'none')
      expect(others(program)).toEqual([])
    },
  )

  it.each([
    ['a 3×3 with strides beside a 1×1 with strides', [3, 3], { ...same, strides: [2, 2] }],
    ['a 1×1 beside a 1×1 with strides', [1, 1], {}],
  ] as [string, number[], Attributes][])(
    'adds what a shortcut that leaves pixels out gives back where it lies: %s',
    (_, kernel, attributes) => {
      const program = expectEqual((b, x) => {
        const start = relu(b, conv(b, x, 5, [3, 3], same))
        const inner = relu(b, conv(b, start, 6, kernel, attributes))
        const strided = attributes.strides === undefined ? { ...same, strides: [2, 2] } : same
        const shortcut = conv(b, start, 4, [1, 1], { strides: [2, 2] })
        return conv(b, relu(b, b.add(conv(b, inner, 4, [3, 3], strided), shortcut)), 4, [3, 3])
      }, 'none')
      expect(others(program)).toEqual([])
    },
  )

  it('keeps a sum that others see apart', () => {
    expectEqual((b, x) => {
      const start = conv(b, x, 5, [3, 3], { ...same, strides: [2, 2] })
      const sum = b.add(conv(b, start, 5, [1, 1], {}), conv(b, start, 5, [3, 3], same))
      return b.add(b.mul(relu(b, sum), 0.5), b.emit('Sigmoid', [sum]))
    })
  })

  it('reaches the images where the gradients of two convolutions with strides meet', () => {
    expectEqual(
      (b, x) => b.add(conv(b, x, 4, [1, 1], { strides: [2, 2] }), conv(b, x, 4, [1, 2], { strides: [2, 2] })),
      'none',
    )
  })
})

describe('a pool in a kernel program', () => {
  const behind =
    (op: string, attributes: Attributes, mask: boolean): Build =>
    (b, x) => {
      const first = conv(b, x, 5, [3, 3], { pads: [1, 1, 1, 1] })
      return conv(b, b.emit(op, [mask ? relu(b, first) : first], attributes), 4, [1, 1])
    }

  it.each(shown(geometries(8, 16, (taps) => taps - 1)))(
    'takes the greatest and gives back to it: kernel, pads, dilations, strides %s',
    (_, attributes) => {
      expectEqual(behind('MaxPool', { ...attributes, ceil_mode: 1 }, false))
      expectEqual(behind('MaxPool', attributes, true))
    },
  )

  it.each(shown(geometries(9, 16, (taps) => taps - 1)))(
    'takes the mean, of all taps or of those inside: kernel, pads, dilations, strides %s',
    (_, attributes) => {
      expectEqual(behind('AveragePool', { ...attributes, count_include_pad: 1 }, false))
      expectEqual(behind('AveragePool', { ...attributes, ceil_mode: 1 }, true))
    },
  )

  it('masks what flows back to a ReLU where there are fewer pixels', () => {
    const program = expectEqual(behind('MaxPool', { kernel_shape: [2, 2], strides: [2, 2] }, true), 'none')
    const back = ops(program).slice(ops(program).indexOf('loss') + 1)
    expect(back.filter((op) => op === 'elementwise')).toEqual([])
    expect(program.gradient.map(({ op, ints }) => [op, ints[3]])).toContainEqual(['gemm', 10])
  })

  it('may be over all pixels, greatest and mean', () => {
    expectEqual((b, x) => {
      const y = relu(b, conv(b, x, 5, [3, 3]))
      return b.add(b.emit('GlobalAveragePool', [y]), b.emit('GlobalMaxPool', [y]))
    })
  })
})

describe('what stands between convolutions', () => {
  const constants = (b: GraphBuilder, of: (c: number) => number): Value =>
    b.constant(
      float32Tensor(
        [12],
        Array.from({ length: 12 }, (_, c) => of(c)),
      ),
    )

  it('works on pictures as they lie: joined channels, gates, normalisation, activations', () => {
    const program = expectEqual((b, x) => {
      const y = conv(b, x, 6, [3, 3])
      const both = b.concat([relu(b, y), b.emit('Sigmoid', [y])], 1)
      const gate = b.emit('Sigmoid', [conv(b, b.emit('GlobalAveragePool', [both]), 12, [1, 1])])
      const [scale, shift, mean] = [0.9, -0.4, 0.2].map((base) => constants(b, (c) => base + c / 50))
      const variance = constants(b, (c) => 0.5 + c / 9)
      const normal = b.emit('BatchNormalization', [b.mul(both, gate), scale, shift, mean, variance])
      return conv(b, b.emit('Clip', [normal, b.scalar(0), b.scalar(6)]), 4, [3, 3])
    })
    // Channels are joined by a copy of each part; the gradients of the parts are cut out of that of the whole.
    expect(program.forward.filter(({ op }) => op === 'copy')).toHaveLength(2)
  })

  it('may change the layout: what needs rows of another order gets them', () => {
    expectEqual((b, x) => {
      const y = relu(b, conv(b, x, 6, [2, 1]))
      const flat = b.reshape(y, [N, 6 * 8 * 8])
      const z = b.reshape(b.matMul(flat, weights(b, [384, 36])), [N, 4, 3, 3])
      return conv(b, z, 4, [3, 3], { pads: [1, 1, 1, 1] })
    })
  })
})
