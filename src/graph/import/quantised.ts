import { ModelError } from '../../errors/index.js'
import { numbersOf, type Tensor, tensorFromNumbers } from '../../tensor/index.js'
import type { GraphBuilder } from '../builder.js'
import { type Attributes, intAttribute, STRAIGHT_THROUGH, type Value } from '../ir.js'

/** The least and the greatest number of a quantised type. */
const ranges: Readonly<Record<string, readonly [number, number]>> = {
  int8: [-128, 127],
  uint8: [0, 255],
  int16: [-32768, 32767],
  uint16: [0, 65535],
}

/**
 * Quantised numbers are held as floats: QuantizeLinear is clip(round(x/s) + z), DequantizeLinear (q − z)·s. The gradient goes through the
 * rounding as if it were not there and stops where the range ends: the straight-through estimate (Bengio et al. 2013, arXiv 1308.3432).
 */
export class Quantisation {
  /** Values quantised between image and logits; weights are not counted. */
  estimated = 0

  constructor(private readonly b: GraphBuilder) {}

  /** The output of a quantising, dequantising or quantised node; undefined for every other. */
  emit(op: string, inputs: readonly (Value | undefined)[], attributes: Attributes): readonly Value[] | undefined {
    const axis = intAttribute(attributes, 'axis', 1)
    if (intAttribute(attributes, 'block_size', 0) !== 0 && op.endsWith('tizeLinear'))
      throw new ModelError('OPERATOR_UNSUPPORTED', 'quantisation in blocks is not read', { found: 'block_size' })
    if (op === 'QuantizeLinear') return [this.quantise(given(op, inputs, 0), given(op, inputs, 1), inputs[2], axis)]
    if (op === 'DequantizeLinear') return [this.dequantise(given(op, inputs, 0), given(op, inputs, 1), inputs[2], axis)]
    return this.product(op, inputs, attributes)
  }

  /**
   * Operators on quantised tensors, as what they stand for: operands dequantised, the operator, its result quantised. ONNX's own and those
   * of ONNX Runtime's quantiser.
   */
  private product(
    op: string,
    inputs: readonly (Value | undefined)[],
    attributes: Attributes,
  ): readonly Value[] | undefined {
    const { b } = this
    const operand = (i: number, axis = 1): Value =>
      this.dequantise(given(op, inputs, i), given(op, inputs, i + 1), inputs[i + 2], axis)
    const result = (value: Value, i: number): readonly Value[] => [
      this.quantise(value, given(op, inputs, i), inputs[i + 1], 1),
    ]
    switch (op) {
      case 'QLinearMatMul':
        return result(b.matMul(operand(0), operand(3, -1)), 6)
      case 'QLinearConv':
        return result(
          b.emit('Conv', [operand(0), operand(3, 0), this.bias(inputs[8], inputs[1], inputs[4])], attributes),
          6,
        )
      case 'QGemm': {
        const bias = this.bias(inputs[6], inputs[1], inputs[4])
        const own = Object.fromEntries(Object.entries(attributes).filter(([name]) => name !== 'alpha'))
        const weightAxis = intAttribute(attributes, 'transB', 0) === 1 ? 0 : 1
        const value = b.emit('Gemm', [operand(0), operand(3, weightAxis), bias], own)
        return inputs[7] === undefined ? [value] : result(value, 7)
      }
      case 'QLinearAdd':
        return result(b.add(operand(0), operand(3)), 6)
      case 'QLinearMul':
        return result(b.mul(operand(0), operand(3)), 6)
      case 'QLinearSigmoid':
      case 'QLinearLeakyRelu':
        return result(b.emit(op.slice('QLinear'.length), [operand(0)], attributes), 3)
      case 'QLinearGlobalAveragePool':
        if (intAttribute(attributes, 'channels_last', 0) === 1) return undefined
        return result(b.emit('GlobalAveragePool', [operand(0)]), 3)
      case 'QLinearSoftmax':
        return result(b.emit('Softmax', [operand(0)], { axis: intAttribute(attributes, 'axis', -1) }), 3)
      case 'QLinearConcat': {
        const places = Array.from({ length: Math.floor((inputs.length - 2) / 3) }, (_, i) => 2 + 3 * i)
        return result(
          b.emit(
            'Concat',
            places.map((i) => operand(i)),
            attributes,
          ),
          0,
        )
      }
      default:
        return undefined
    }
  }

  /** An int32 bias counts in the product of both scales. */
  private bias(bias: Value | undefined, scale: Value | undefined, other: Value | undefined): Value | undefined {
    if (bias === undefined || scale === undefined || other === undefined) return undefined
    const flat = (value: Value): Value => this.b.reshape(value, value.constant?.data.length === 1 ? [] : value.shape)
    return this.b.mul(this.float(bias), this.b.mul(flat(scale), flat(other)))
  }

  private dequantise(x: Value, scale: Value, zero: Value | undefined, axis: number): Value {
    const folded = constantOf(x, scale, zero, axis)
    if (folded !== undefined) return this.b.constant(folded, 'dequantised')
    const q = this.float(x)
    const shifted = zero === undefined ? q : this.b.sub(q, this.along(this.float(zero), x, axis))
    return this.b.mul(shifted, this.along(scale, x, axis))
  }

  private quantise(x: Value, scale: Value, zero: Value | undefined, axis: number): Value {
    const { b } = this
    const [low, high] = rangeOf(zero?.dtype ?? 'uint8')
    if (x.constant === undefined) this.estimated++
    const rounded = b.emit('Round', [b.div(x, this.along(scale, x, axis))], { [STRAIGHT_THROUGH]: 1 })
    const shifted = zero === undefined ? rounded : b.add(rounded, this.along(this.float(zero), x, axis))
    return b.emit('Clip', [shifted, b.scalar(low), b.scalar(high)])
  }

  private float(value: Value): Value {
    if (value.constant !== undefined && value.dtype !== 'float32')
      return this.b.constant(tensorFromNumbers('float32', value.constant.shape, numbersOf(value.constant)))
    return this.b.cast(value, 'float32')
  }

  /** One number for all, or a vector along an axis of `like`. */
  private along(parameters: Value, like: Value, axis: number): Value {
    const count = parameters.constant?.data.length ?? 1
    if (count === 1 || parameters.shape.length !== 1) return this.b.reshape(parameters, [])
    const place = axis < 0 ? axis + like.shape.length : axis
    return this.b.reshape(
      parameters,
      like.shape.map((_, i) => (i === place ? count : 1)),
    )
  }
}

function given(op: string, inputs: readonly (Value | undefined)[], i: number): Value {
  const value = inputs[i]
  if (value === undefined) throw new ModelError('MODEL_INVALID', `input ${i} of ${op} is missing`, {})
  return value
}

function rangeOf(dtype: string): readonly [number, number] {
  const range = ranges[dtype]
  if (range !== undefined) return range
  throw new ModelError('OPERATOR_UNSUPPORTED', `quantisation to ${dtype} is not read`, {
    expected: Object.keys(ranges).join(', '),
    found: dtype,
  })
}

/** Weights are dequantised while reading, however large they are. */
function constantOf(x: Value, scale: Value, zero: Value | undefined, axis: number): Tensor | undefined {
  if (x.constant === undefined || scale.constant === undefined || (zero !== undefined && zero.constant === undefined))
    return undefined
  const [q, s] = [numbersOf(x.constant), numbersOf(scale.constant)]
  const z = zero?.constant && numbersOf(zero.constant)
  const shape = x.constant.shape
  const place = axis < 0 ? axis + shape.length : axis
  const inner = shape.slice(place + 1).reduce((n, size) => n * size, 1)
  const data = new Float32Array(q.length)
  for (let i = 0; i < data.length; i++) {
    const k = s.length === 1 ? 0 : Math.floor(i / inner) % s.length
    data[i] = (q[i] - (z?.[z.length === 1 ? 0 : k] ?? 0)) * s[k]
  }
  return tensorFromNumbers('float32', shape, data)
}
