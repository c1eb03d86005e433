import { intAttribute, type Node } from '../../graph/index.js'
import { numbersOf } from '../../tensor/index.js'
import type { FunctionName, ReductionName } from './program.js'

/** An elementwise operator as one launch: its function, which inputs it takes, and numbers. */
export interface Pointwise {
  readonly function: FunctionName
  readonly inputs: readonly number[]
  readonly parameters?: readonly number[]
}

const unary: Readonly<Record<string, FunctionName>> = {
  Identity: 'identity',
  Cast: 'identity',
  Neg: 'negate',
  Abs: 'absolute',
  Exp: 'exponential',
  Log: 'logarithm',
  Sqrt: 'square_root',
  Reciprocal: 'reciprocal',
  Sigmoid: 'sigmoid',
  Tanh: 'hyperbolic_tangent',
  Erf: 'error_function',
  Relu: 'relu',
  Sign: 'sign',
  Softplus: 'softplus',
  Sin: 'sine',
  Cos: 'cosine',
  Floor: 'floor',
  Ceil: 'ceiling',
  Round: 'round_even',
}

const binary: Readonly<Record<string, FunctionName>> = {
  Add: 'add',
  Sub: 'subtract',
  Mul: 'multiply',
  Div: 'divide',
  Pow: 'power',
  Greater: 'greater',
  GreaterOrEqual: 'greater_or_equal',
  Less: 'less',
  LessOrEqual: 'less_or_equal',
  Equal: 'equal',
  And: 'multiply',
}

/** Folded from the left over any number of operands. */
export const folded: Readonly<Record<string, FunctionName>> = { Min: 'minimum', Max: 'maximum', Sum: 'add' }

/** Operators that change the shape alone. */
export const reshapes: ReadonlySet<string> = new Set(['Reshape', 'Squeeze', 'Unsqueeze', 'Flatten', 'Identity'])

export const reductionOps: Readonly<Record<string, ReductionName>> = {
  ReduceSum: 'sum',
  ReduceMean: 'mean',
  ReduceMax: 'maximum',
  ReduceMin: 'minimum',
  ReduceSumSquare: 'sum_squares',
  ReduceL1: 'sum_magnitudes',
  ReduceProd: 'product',
}

export function pointwise(node: Node): Pointwise | undefined {
  const { op, attributes } = node
  const number = (name: string, fallback: number): number => intAttribute(attributes, name, fallback)
  if (Object.hasOwn(unary, op)) return { function: unary[op], inputs: [0] }
  if (Object.hasOwn(binary, op)) return { function: binary[op], inputs: [0, 1] }
  switch (op) {
    case 'Not':
      return { function: 'scale_shift', inputs: [0], parameters: [-1, 1] }
    case 'Gelu':
      return { function: attributes.approximate === 'tanh' ? 'gelu_tanh' : 'gelu_erf', inputs: [0] }
    case 'Where':
      return { function: 'select', inputs: [0, 1, 2] }
    case 'LeakyRelu':
      return { function: 'leaky_relu', inputs: [0], parameters: [number('alpha', 0.01)] }
    case 'Elu':
      return { function: 'elu', inputs: [0], parameters: [number('alpha', 1)] }
    case 'HardSigmoid':
      return { function: 'hard_sigmoid', inputs: [0], parameters: [number('alpha', 0.2), number('beta', 0.5)] }
    case 'Clip': {
      const bound = (i: number, fallback: number): number | undefined => {
        const value = node.inputs[i]
        if (value === undefined) return fallback
        return value.constant && numbersOf(value.constant)[0]
      }
      const [low, high] = [bound(1, Number.NEGATIVE_INFINITY), bound(2, Number.POSITIVE_INFINITY)]
      return low === undefined || high === undefined
        ? undefined
        : { function: 'clip', inputs: [0], parameters: [low, high] }
    }
    default:
      return undefined
  }
}
