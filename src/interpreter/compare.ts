import { binary, unary } from './apply.js'
import { broadcastShape, broadcastTo, input, int, make, type Operator } from './array.js'

const where: Operator = (call) => {
  const [c, a, b] = [input(call, 0), input(call, 1), input(call, 2)]
  const shape = broadcastShape([c.shape, a.shape, b.shape])
  const [condition, x, y] = [c, a, b].map((array) => broadcastTo(array, shape))
  return make(
    a.dtype,
    shape,
    condition.map((chosen, i) => (chosen ? x[i] : y[i])),
  )
}

export const compare: Record<string, Operator> = {
  Equal: binary((a, b) => Number(a === b), 'bool'),
  Greater: binary((a, b) => Number(a > b), 'bool'),
  GreaterOrEqual: binary((a, b) => Number(a >= b), 'bool'),
  Less: binary((a, b) => Number(a < b), 'bool'),
  LessOrEqual: binary((a, b) => Number(a <= b), 'bool'),
  And: binary((a, b) => Number(a !== 0 && b !== 0), 'bool'),
  Or: binary((a, b) => Number(a !== 0 || b !== 0), 'bool'),
  Xor: binary((a, b) => Number((a !== 0) !== (b !== 0)), 'bool'),
  Not: unary((x) => Number(x === 0), 'bool'),
  IsNaN: unary((x) => Number(Number.isNaN(x)), 'bool'),
  IsInf: unary(
    (x, c) =>
      Number(
        (x === Number.POSITIVE_INFINITY && int(c, 'detect_positive', 1) === 1) ||
          (x === Number.NEGATIVE_INFINITY && int(c, 'detect_negative', 1) === 1),
      ),
    'bool',
  ),
  Where: where,
}
