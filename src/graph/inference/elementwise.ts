import { ModelError } from '../../errors/index.js'
import { type DType, isInteger } from '../../tensor/index.js'
import { intAttribute, type Value } from '../ir.js'
import {
  broadcast,
  type Call,
  type InferenceRule,
  type InferenceRules,
  type Inferred,
  mismatch,
  required,
} from './call.js'
import { castKnown, type DimFunction, dimFunctions, divideKnown, mapKnown, moduloKnown } from './known.js'

/** One operand, same shape, same type unless `dtype` says otherwise. */
function unary(dtype?: DType): InferenceRule {
  return (call) => {
    const a = required(call, 0)
    const apply = dimFunctions[call.op]
    return [{ dtype: dtype ?? a.dtype, shape: a.shape, known: apply && mapKnown([a], a.shape, apply) }]
  }
}

/** Operands of one type that broadcast to a common shape. */
function broadcasting(dtype?: DType): InferenceRule {
  return (call) => {
    const operands = call.inputs.map((_, i) => required(call, i))
    if (operands.length === 0) required(call, 0)
    requireOneType(call, operands)
    const shape = broadcast(
      call,
      operands.map((value) => value.shape),
    )
    const apply = knownFunction(call, operands[0].dtype)
    return [{ dtype: dtype ?? operands[0].dtype, shape, known: apply && mapKnown(operands, shape, apply) }]
  }
}

function knownFunction(call: Call, dtype: DType): DimFunction | undefined {
  if (call.op === 'Div') return ([a, b]) => divideKnown(a, b, isInteger(dtype))
  if (call.op === 'Mod') return ([a, b]) => moduloKnown(a, b, intAttribute(call.attributes, 'fmod', 0) !== 0)
  return dimFunctions[call.op]
}

function requireOneType(call: Call, operands: readonly Value[]): void {
  const types = new Set(operands.map((value) => value.dtype))
  if (types.size > 1) throw mismatch(call, 'operands differ in type', 'one type', [...types].join(' and '))
}

function where(call: Call): Inferred[] {
  const [condition, a, b] = [required(call, 0), required(call, 1), required(call, 2)]
  if (condition.dtype !== 'bool') throw mismatch(call, 'wrong type of condition', 'bool', condition.dtype)
  requireOneType(call, [a, b])
  const shape = broadcast(call, [condition.shape, a.shape, b.shape])
  return [{ dtype: a.dtype, shape, known: mapKnown([condition, a, b], shape, dimFunctions.Where) }]
}

function castTo(value: Value, dtype: DType): Inferred[] {
  return [{ dtype, shape: value.shape, known: mapKnown([value], value.shape, ([a]) => castKnown(a, dtype)) }]
}

function cast(call: Call): Inferred[] {
  const to = call.attributes.to
  if (typeof to !== 'string')
    throw new ModelError('OPERATOR_UNSUPPORTED', 'unknown target type', { subject: 'Cast', found: String(to) })
  return castTo(required(call, 0), to as DType)
}

/** The first operand decides shape and type: Clip and PRelu's slope, Pow's exponent may have types of their own. */
function likeFirst(call: Call): Inferred[] {
  const a = required(call, 0)
  return [{ dtype: a.dtype, shape: a.shape }]
}

function power(call: Call): Inferred[] {
  const [a, b] = [required(call, 0), required(call, 1)]
  return [{ dtype: a.dtype, shape: broadcast(call, [a.shape, b.shape]) }]
}

function dropout(call: Call): Inferred[] {
  const a = required(call, 0)
  const outputs: Inferred[] = [
    { dtype: a.dtype, shape: a.shape, known: a.known },
    { dtype: 'bool', shape: a.shape },
  ]
  return outputs.slice(0, call.outputs)
}

const sameType = [
  ...[
    'Abs',
    'Neg',
    'Exp',
    'Log',
    'Sqrt',
    'Reciprocal',
    'Sign',
    'Floor',
    'Ceil',
    'Round',
    'Identity',
    'Not',
    'BitwiseNot',
  ],
  ...['Erf', 'Sin', 'Cos', 'Tan', 'Asin', 'Acos', 'Atan', 'Sinh', 'Cosh', 'Asinh', 'Acosh', 'Atanh'],
  ...['Relu', 'LeakyRelu', 'Elu', 'Celu', 'Selu', 'ThresholdedRelu', 'Shrink', 'Sigmoid', 'HardSigmoid', 'Tanh'],
  ...['HardSwish', 'Swish', 'Mish', 'Softplus', 'Softsign', 'Gelu'],
]
const sameTypeBroadcasting = ['Add', 'Sub', 'Mul', 'Div', 'Mod', 'Sum', 'Mean', 'Min', 'Max', 'And', 'Or', 'Xor']
const bitwise = ['BitwiseAnd', 'BitwiseOr', 'BitwiseXor', 'BitShift']
const comparing = ['Equal', 'Greater', 'GreaterOrEqual', 'Less', 'LessOrEqual']

const each = (ops: readonly string[], rule: InferenceRule) => Object.fromEntries(ops.map((op) => [op, rule]))

/** Element by element, with broadcasting. */
export const elementwiseRules: InferenceRules = {
  ...each(sameType, unary()),
  ...each(['IsNaN', 'IsInf'], unary('bool')),
  ...each([...sameTypeBroadcasting, ...bitwise], broadcasting()),
  ...each(comparing, broadcasting('bool')),
  Clip: likeFirst,
  PRelu: likeFirst,
  Pow: power,
  Where: where,
  Cast: cast,
  CastLike: (call) => castTo(required(call, 0), required(call, 1).dtype),
  Dropout: dropout,
}
