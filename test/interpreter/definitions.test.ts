import { describe, expect, it } from 'vitest'
import { evaluate, type NdArray } from '#signstep/interpreter/index.js'
import { randomArray, randomNumbers } from '../support/random.js'

const random = randomNumbers(7)
const draw = (...shape: number[]): NdArray => randomArray(random, shape)
const run = (op: string, attributes: object, ...inputs: (NdArray | undefined)[]): NdArray =>
  evaluate(op, attributes, inputs, 1)[0]
const array = (shape: readonly number[], values: ArrayLike<number>): NdArray => ({
  dtype: 'float32',
  shape,
  data: Float64Array.from(values),
})
const ints = (...values: number[]): NdArray => ({
  dtype: 'int64',
  shape: [values.length],
  data: Float64Array.from(values),
})
const at = ({ shape, data }: NdArray, ...index: number[]): number =>
  data[index.reduce((offset, i, axis) => offset * shape[axis] + i, 0)]

function expectClose(found: NdArray, wanted: NdArray): void {
  expect(found.shape).toEqual(wanted.shape)
  for (const [i, want] of wanted.data.entries()) expect(Math.abs(found.data[i] - want)).toBeLessThan(1e-12)
}

describe('products', () => {
  it('multiply matrices of any inner size, batches broadcast', () => {
    for (const inner of [1, 3, 4, 9]) {
      const [a, b] = [draw(2, 1, 3, inner), draw(5, inner, 4)]
      const found = run('MatMul', {}, a, b)
      expect(found.shape).toEqual([2, 5, 3, 4])
      for (const [n, m, i, j] of [
        [0, 0, 0, 0],
        [1, 4, 2, 3],
        [1, 2, 0, 1],
      ]) {
        let sum = 0
        for (let k = 0; k < inner; k++) sum += at(a, n, 0, i, k) * at(b, m, k, j)
        expect(at(found, n, m, i, j)).toBeCloseTo(sum, 12)
      }
    }
  })

  it('convolve with strides, dilations, uneven padding and groups as the definition says', () => {
    const [x, w, bias] = [draw(2, 4, 7, 6), draw(6, 2, 3, 2), draw(6)]
    const attributes = { group: 2, strides: [2, 1], dilations: [1, 2], pads: [1, 0, 2, 1] }
    const found = run('Conv', attributes, x, w, bias)
    expect(found.shape).toEqual([2, 6, 4, 5])
    for (let n = 0; n < 2; n++)
      for (let f = 0; f < 6; f++)
        for (let i = 0; i < 4; i++)
          for (let j = 0; j < 5; j++) {
            let sum = bias.data[f]
            for (let c = 0; c < 2; c++)
              for (let u = 0; u < 3; u++)
                for (let v = 0; v < 2; v++) {
                  const [row, column] = [2 * i + u - 1, j + 2 * v]
                  if (row >= 0 && row < 7 && column < 6)
                    sum += at(x, n, Math.floor(f / 3) * 2 + c, row, column) * at(w, f, c, u, v)
                }
            expect(at(found, n, f, i, j)).toBeCloseTo(sum, 12)
          }
  })

  it('transpose a convolution: ⟨conv(x), y⟩ = ⟨x, convTranspose(y)⟩', () => {
    const attributes = { group: 2, strides: [2, 3], dilations: [2, 1], pads: [1, 0, 1, 2] }
    const [x, w] = [draw(1, 4, 8, 9), draw(6, 2, 2, 3)]
    const forward = run('Conv', attributes, x, w)
    const y = draw(...forward.shape)
    const back = run('ConvTranspose', { ...attributes, output_padding: [1, 2] }, y, w)
    const dot = (a: NdArray, b: NdArray): number => a.data.reduce((sum, v, i) => sum + v * b.data[i], 0)
    expect(back.shape).toEqual(x.shape)
    expect(dot(forward, y)).toBeCloseTo(dot(x, back), 10)
  })
})

describe('attention', () => {
  const attend = (q: NdArray, k: NdArray, v: NdArray, bias: NdArray, scale: number): NdArray => {
    const keysLast = run('Transpose', { perm: [0, 1, 3, 2] }, k)
    const scores = run('Mul', {}, run('MatMul', {}, q, keysLast), array([], [scale]))
    return run('MatMul', {}, run('Softmax', { axis: -1 }, run('Add', {}, scores, bias)), v)
  }

  it('is softmax(q·kᵀ/√size + mask)·v', () => {
    const [q, k, v, mask] = [draw(2, 3, 4, 8), draw(2, 3, 5, 8), draw(2, 3, 5, 6), draw(4, 5)]
    expectClose(run('Attention', {}, q, k, v, mask), attend(q, k, v, mask, 8 ** -0.5))
  })

  it('takes heads side by side, and key heads that several query heads share', () => {
    const [q, k, v] = [draw(2, 4, 32), draw(2, 5, 16), draw(2, 5, 16)]
    const split = (x: NdArray, heads: number): NdArray =>
      run('Transpose', { perm: [0, 2, 1, 3] }, run('Reshape', {}, x, ints(2, x.shape[1], heads, 8)))
    const repeat = (x: NdArray): NdArray => run('Gather', { axis: 1 }, split(x, 2), ints(0, 0, 1, 1))
    const wanted = attend(split(q, 4), repeat(k), repeat(v), array([], [0]), 8 ** -0.5)
    expectClose(
      run('Attention', { q_num_heads: 4, kv_num_heads: 2 }, q, k, v),
      run('Reshape', {}, run('Transpose', { perm: [0, 2, 1, 3] }, wanted), ints(2, 4, 32)),
    )
  })

  it('looks only back where it is causal, and gives zeros where nothing may be seen', () => {
    const [q, k, v] = [draw(1, 1, 3, 4), draw(1, 1, 3, 4), draw(1, 1, 3, 4)]
    const causal = run('Attention', { is_causal: 1 }, q, k, v)
    expectClose(array([4], causal.data.slice(0, 4)), array([4], v.data.slice(0, 4)))
    const nothing: NdArray = { dtype: 'bool', shape: [3, 3], data: new Float64Array(9) }
    expect([...run('Attention', {}, q, k, v, nothing).data]).toEqual(new Array(12).fill(0))
  })

  it('turns pairs by the angle of their position', () => {
    const angle = 0.3
    const [cos, sin] = [array([1, 2, 1], [1, Math.cos(angle)]), array([1, 2, 1], [0, Math.sin(angle)])]
    const found = run('RotaryEmbedding', {}, array([1, 1, 2, 2], [1, 0, 1, 0]), cos, sin)
    expectClose(found, array([1, 1, 2, 2], [1, 0, Math.cos(angle), Math.sin(angle)]))
  })
})

describe('sampling', () => {
  const image = draw(1, 2, 3, 4)

  it('gives the image back on its own grid, whatever the mode', () => {
    const grid: number[] = []
    for (let i = 0; i < 3; i++) for (let j = 0; j < 4; j++) grid.push(j / 1.5 - 1, i - 1)
    for (const mode of ['nearest', 'linear', 'cubic'])
      expectClose(run('GridSample', { mode, align_corners: 1 }, image, array([1, 3, 4, 2], grid)), image)
  })

  it('pads with zeros, the border or a mirror', () => {
    const far = array([1, 1, 1, 2], [1.5, 0])
    const sample = (padding_mode: string): number =>
      run('GridSample', { padding_mode, mode: 'nearest' }, image, far).data[0]
    // Column ((1.5 + 1)·4 − 1)/2 = 4.5 of 0…3: rounded to 4; mirrored at 3.5 it is 2.5, rounded to the even 2.
    expect(sample('zeros')).toBe(0)
    expect(sample('border')).toBe(at(image, 0, 0, 1, 3))
    expect(sample('reflection')).toBe(at(image, 0, 0, 1, 2))
  })

  it('resizes to ⌊size · scale⌋ as float32 has it', () => {
    const scales = array([2], [Math.fround(0.7), 1])
    expect(run('Resize', { mode: 'nearest' }, draw(10, 2), undefined, scales).shape).toEqual([7, 2])
  })
})

describe('normalisation', () => {
  it('leaves mean 0 and variance 1', () => {
    const { data } = run('MeanVarianceNormalization', { axes: [0, 2] }, draw(3, 2, 5))
    const channel = data.filter((_, i) => Math.floor(i / 5) % 2 === 1)
    expect(channel.reduce((a, b) => a + b) / 15).toBeCloseTo(0, 12)
    expect(channel.reduce((a, b) => a + b * b, 0) / 15).toBeCloseTo(1, 6)
  })

  it('takes a scale of any shape that broadcasts', () => {
    const [x, scale] = [draw(2, 3, 4), draw(3, 1)]
    const plain = run('LayerNormalization', { axis: 1 }, x, array([1], [1]))
    expectClose(run('LayerNormalization', { axis: 1 }, x, scale), run('Mul', {}, plain, scale))
  })
})

it('tiles with any repetition, none included', () => {
  const x = array([1, 2], [1, 2])
  expect([...run('Tile', {}, x, ints(2, 2)).data]).toEqual([1, 2, 1, 2, 1, 2, 1, 2])
  expect(run('Tile', {}, x, ints(0, 2)).shape).toEqual([0, 4])
})
