import { describe, expect, it } from 'vitest'
import { evaluate, type NdArray } from '#signstep/interpreter/index.js'
import type { DType } from '#signstep/tensor/index.js'

const array = (dtype: DType, values: readonly number[], shape: readonly number[] = [values.length]): NdArray => ({
  dtype,
  shape,
  data: Float64Array.from(values),
})
const run = (op: string, attributes: object, ...inputs: NdArray[]): NdArray => evaluate(op, attributes, inputs, 1)[0]
const cast = (from: NdArray, to: DType): number[] => [...run('Cast', { to }, from).data]

describe('a cast', () => {
  it('truncates floats and stops at the ends of an integer type', () => {
    const floats = array('float32', [-1.9, 1.9, 300, -300, Number.POSITIVE_INFINITY, Number.NaN])
    expect(cast(floats, 'int8').map((v) => v + 0)).toEqual([-1, 1, 127, -128, 127, 0])
    expect(cast(floats, 'uint8').map((v) => v + 0)).toEqual([0, 1, 255, 0, 255, 0])
  })

  it('wraps integers into narrower ones', () => {
    expect(cast(array('int64', [255, 256, -1, 128]), 'uint8')).toEqual([255, 0, 255, 128])
    expect(cast(array('int64', [255, 256, -1, 128]), 'int8')).toEqual([-1, 0, -1, -128])
  })

  it('makes 0 or 1 of anything for a bool', () => {
    expect(cast(array('float32', [0, -0, 0.1, Number.NaN]), 'bool')).toEqual([0, 0, 1, 1])
  })

  it('keeps the precision of float64 between floats', () => {
    expect(cast(array('float64', [0.1]), 'float16')).toEqual([0.1])
  })
})

describe('arithmetic', () => {
  it('divides integers towards zero', () => {
    expect([...run('Div', {}, array('int64', [7, -7]), array('int64', [2])).data]).toEqual([3, -3])
    expect([...run('Div', {}, array('float32', [7, -7]), array('float32', [2])).data]).toEqual([3.5, -3.5])
  })

  it('gives the remainder the sign of the divisor, or of the dividend with fmod', () => {
    const [a, b] = [array('int64', [-7, 7]), array('int64', [3, -3])]
    expect([...run('Mod', {}, a, b).data]).toEqual([2, -2])
    expect([...run('Mod', { fmod: 1 }, a, b).data]).toEqual([-1, 1])
  })

  it('refuses to divide an integer by zero', () => {
    expect(() => run('Div', {}, array('int64', [1]), array('int64', [0]))).toThrow(/divided by zero/)
    expect([...run('Div', {}, array('float32', [1]), array('float32', [0])).data]).toEqual([Number.POSITIVE_INFINITY])
  })

  it('overflows as the integer type does', () => {
    expect([...run('Add', {}, array('uint8', [200]), array('uint8', [100])).data]).toEqual([44])
  })

  it('rounds halves to even', () => {
    const halves = array('float32', [0.5, 1.5, 2.5, -0.5, -1.5])
    expect([...run('Round', {}, halves).data].map((v) => v + 0)).toEqual([0, 2, 2, 0, -2])
  })

  it('compares into bools', () => {
    const found = run('Less', {}, array('float32', [1, 2]), array('float32', [2]))
    expect(found).toEqual(array('bool', [1, 0]))
  })
})

describe('bad input', () => {
  const x = array('float32', [1, 2, 3, 4], [2, 2])

  it('names an index out of range', () => {
    expect(() => run('Gather', {}, x, array('int64', [2]))).toThrow(
      /index out of range; expected one of 2 positions; found 2/,
    )
    expect([...run('Gather', {}, x, array('int64', [-1])).data]).toEqual([3, 4])
  })

  it('names an axis that does not exist', () => {
    expect(() => run('Softmax', { axis: 2 }, x)).toThrow(/no such axis/)
  })

  it('names shapes that do not fit', () => {
    expect(() => run('Add', {}, x, array('float32', [1, 2, 3]))).toThrow(/broadcast/)
    expect(() => run('MatMul', {}, x, array('float32', [1, 2, 3]))).toThrow(/MatMul.*2 rows/)
    expect(() => run('Reshape', {}, x, array('int64', [3, -1]))).toThrow(/element counts differ/)
  })

  it('does not drop elements at random', () => {
    const [rate, training] = [array('float32', [0.5], []), array('bool', [1], [])]
    expect(() => run('Dropout', {}, x, rate, training)).toThrow(/training mode/)
    expect([...run('Dropout', {}, x, rate).data]).toEqual([1, 2, 3, 4])
  })
})
