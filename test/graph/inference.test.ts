import { describe, expect, it } from 'vitest'
import { Graph, GraphBuilder, infer, N, showShape, type Value } from '#signstep/graph/index.js'
import { int64Tensor, tensorFromNumbers } from '#signstep/tensor/index.js'

function open(shape: readonly (number | typeof N)[] = [N, 3, 32, 32]): { b: GraphBuilder; x: Value } {
  const b = new GraphBuilder(new Graph('test'))
  return { b, x: b.input('x', 'float32', shape) }
}

describe('sizes that depend on the batch', () => {
  it('are multiples of N through windows and back', () => {
    const { b, x } = open([N, 8, 8, 24])
    const split = b.reshape(x, [N, 2, 4, 2, 4, 24])
    const windows = b.emit('Reshape', [b.transpose(split, [0, 1, 3, 2, 4, 5]), b.ints([-1, 16, 24])])
    expect(showShape(windows.shape)).toBe('[4N,16,24]')
    const back = b.emit('Reshape', [windows, b.ints([-1, 2, 2, 4, 4, 24])])
    expect(showShape(back.shape)).toBe('[N,2,2,4,4,24]')
  })

  it('broadcast with 1 and themselves, and nothing else', () => {
    const { b, x } = open([N, 5])
    expect(showShape(b.add(x, b.constant(tensorFromNumbers('float32', [1, 5], [1, 2, 3, 4, 5]))).shape)).toBe('[N,5]')
    const four = b.constant(tensorFromNumbers('float32', [4, 5], new Array(20).fill(1)))
    expect(() => b.add(x, four)).toThrow(/Add: shapes do not broadcast; expected .* axis 0; found N and 4/)
  })

  it('cannot be cut, padded or split unevenly', () => {
    const { b, x } = open()
    expect(() => b.slice(x, [0], [1], [0])).toThrow('takes a part of the batch')
    expect(() => b.emit('Pad', [x, b.ints([1, 0, 0, 0, 0, 0, 0, 0])])).toThrow('pads the batch axis')
    expect(() => b.emitAll('Split', [x], { axis: 0, num_outputs: 2 }, 2)).toThrow('does not divide')
    expect(b.slice(x, [0], [Number.MAX_SAFE_INTEGER], [0]).shape).toEqual(x.shape)
  })
})

describe('shape arithmetic', () => {
  it('folds to the number where an element of a shape is one, and is known to hold N where it does', () => {
    const { b, x } = open()
    const shape = b.emit('Shape', [x])
    expect(shape.known?.map((dim) => (typeof dim === 'number' ? dim : 'N'))).toEqual(['N', 3, 32, 32])
    expect(b.emit('Gather', [shape, b.ints([2])]).constant?.data).toEqual(BigInt64Array.from([32n]))
    const batch = b.emit('Gather', [shape, b.scalar(0, 'int64')])
    expect(batch.constant).toBeUndefined()
    const target = b.concat([b.emit('Unsqueeze', [batch, b.ints([0])]), b.ints([-1])], 0)
    expect(showShape(b.emit('Reshape', [x, target]).shape)).toBe('[N,3072]')
  })

  it('follows N through products, quotients, selections and scatters', () => {
    const { b, x } = open()
    const batch = b.emit('Shape', [x], { start: 0, end: 1 })
    expect(b.mul(batch, b.ints([6])).known).toEqual([{ factor: 6 }])
    expect(b.div(b.mul(batch, b.ints([6])), b.ints([2])).known).toEqual([{ factor: 3 }])
    expect(b.div(b.mul(batch, b.ints([6])), batch).constant?.data).toEqual(BigInt64Array.from([6n]))
    expect(b.emit('Mod', [b.mul(batch, b.ints([6])), b.ints([3])]).constant?.data).toEqual(BigInt64Array.from([0n]))
    expect(b.emit('Mod', [batch, b.ints([4])]).known).toBeUndefined()
    const scattered = b.emit('ScatterND', [b.ints([7, 8]), b.constant(int64Tensor([1], [1, 1])), batch])
    expect(scattered.known).toEqual([7, { factor: 1 }])
    expect(b.emit('ReduceProd', [b.emit('Shape', [x]), b.ints([0])], { keepdims: 0 }).known).toEqual([{ factor: 3072 }])
  })

  it('decides comparisons only where they hold for every N', () => {
    const { b, x } = open()
    const batch = b.emit('Shape', [x], { start: 0, end: 1 })
    const compare = (op: string, value: number) => b.emit(op, [batch, b.ints([value])]).constant?.data[0]
    expect(compare('Equal', -1)).toBe(0)
    expect(compare('Equal', 0)).toBe(0)
    expect(compare('Equal', 1)).toBeUndefined()
    expect(compare('Greater', 0)).toBe(1)
    expect(compare('Greater', 1)).toBeUndefined()
    expect(compare('Less', 1)).toBe(0)
    expect(compare('GreaterOrEqual', 1)).toBe(1)
    // The class token of TorchScript: expand(batch, -1, -1) becomes Where(target == -1, 1, target).
    const target = b.concat([batch, b.ints([-1, -1])], 0)
    const chosen = b.where(b.emit('Equal', [target, b.ints([-1, -1, -1])]), b.ints([1, 1, 1]), target)
    expect(chosen.known).toEqual([{ factor: 1 }, 1, 1])
  })

  it('folds through floats, as TorchScript computes scales and paddings', () => {
    const { b, x } = open()
    const height = b.emit('Gather', [b.emit('Shape', [x]), b.scalar(2, 'int64')])
    const half = b.emit('Ceil', [b.div(b.cast(height, 'float32'), 3)])
    expect(half.constant?.data).toEqual(Float32Array.from([11]))
    expect(b.sqrt(b.cast(height, 'float32')).constant?.data[0]).toBeCloseTo(Math.sqrt(32), 6)
  })
})

describe('windows', () => {
  const { b, x } = open([N, 3, 7, 7])

  it('leave out a last position that would start in the padding', () => {
    const pool = (attributes: object) =>
      b.emit('MaxPool', [x], { kernel_shape: [2, 2], strides: [2, 2], ...attributes })
    expect(showShape(pool({}).shape)).toBe('[N,3,3,3]')
    expect(showShape(pool({ ceil_mode: 1 }).shape)).toBe('[N,3,4,4]')
    // 7 + 1 + 1 rows, stride 4: positions 0, 4 and, in the last padding row, 8, which does not count.
    const padded = b.emit('MaxPool', [x], { kernel_shape: [1, 1], strides: [4, 4], pads: [1, 1, 1, 1], ceil_mode: 1 })
    expect(showShape(padded.shape)).toBe('[N,3,2,2]')
  })

  it('must fit their input', () => {
    expect(() => b.emit('AveragePool', [x], { kernel_shape: [9, 9] })).toThrow('the window is larger than its input')
    const weight = b.parameter(tensorFromNumbers('float32', [4, 2, 3, 3], new Array(72).fill(0)), 'weight')
    expect(() => b.emit('Conv', [x, weight])).toThrow('channels do not fit the weight; expected 2; found 3')
  })
})

describe('operators that are refused', () => {
  it.each([
    ['If', 'control flow'],
    ['RandomNormal', 'deterministic'],
    ['QLinearConv', 'quantised'],
    ['SequenceAt', 'sequences'],
    ['NoSuchOperator', 'unknown operator'],
  ])('%s: %s', (op, reason) => {
    expect(() => infer(op, [], {}, 1)).toThrow(reason)
    expect(() => infer(op, [], {}, 1)).toThrow(expect.objectContaining({ code: 'OPERATOR_UNSUPPORTED' }))
  })

  it('those whose shape depends on data', () => {
    const { b, x } = open([N, 4])
    const target = b.cast(b.reshape(b.reduceSum(x, [0, 1]), [1]), 'int64')
    expect(() => b.emit('Reshape', [x, target])).toThrow('depends on data')
  })
})
