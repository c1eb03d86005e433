import { intAttribute, type Node, type Value } from '../../graph/index.js'
import { float32Tensor, numbersOf, type Tensor } from '../../tensor/index.js'
import type { Replacement } from './fuse.js'
import { swiGlu } from './own-operators.js'

/** Columns from `start` on of x·weight + bias. */
interface Columns {
  readonly x: Value
  readonly weight: Tensor
  readonly bias: Tensor | undefined
  readonly start: number
}

/**
 * silu(a)·b where a and b are columns of products of one input, the halves of one or two products side by side: one product whose columns 2j
 * and 2j + 1 are a_j and b_j, so that one thread of its epilogue holds both.
 */
export function gatedLinear(node: Node): Replacement | undefined {
  if (node.op !== 'Mul') return undefined
  const [left, right] = node.inputs as Value[]
  const size = node.outputs[0].shape.at(-1)
  if (typeof size !== 'number') return undefined
  for (const [gated, value] of [
    [left, right],
    [right, left],
  ]) {
    const argument = siluArgument(gated)
    if (argument?.shape.at(-1) !== size || value.shape.at(-1) !== size) continue
    const [a, b] = [columnsOf(argument), columnsOf(value)]
    if (a === undefined || b === undefined || a.x !== b.x) continue
    const weight = interleaved(a, b, size)
    const bias = a.bias || b.bias ? float32Tensor([2 * size], interleavedBias(a, b, size)) : undefined
    return {
      inputs: [a.x],
      emit(builder, [x]) {
        const product = builder.matMul(x, builder.constant(weight, 'weight'))
        return swiGlu(builder, bias === undefined ? product : builder.add(product, builder.constant(bias, 'bias')))
      },
    }
  }
  return undefined
}

/** x where the value is x·sigmoid(x). */
function siluArgument(value: Value): Value | undefined {
  const node = value.producer
  if (node?.op === 'Swish') return (node.attributes.alpha ?? 1) === 1 ? node.inputs[0] : undefined
  if (node?.op !== 'Mul') return undefined
  const [x, y] = node.inputs as Value[]
  const isGate = (gate: Value, of: Value): boolean => gate.producer?.op === 'Sigmoid' && gate.producer.inputs[0] === of
  return isGate(y, x) ? x : isGate(x, y) ? y : undefined
}

function columnsOf(value: Value): Columns | undefined {
  const node = value.producer
  if (node?.op !== 'Split') return linearOf(value)
  const rank = value.shape.length
  if ((intAttribute(node.attributes, 'axis', 0) + rank) % rank !== rank - 1) return undefined
  const linear = linearOf(node.inputs[0] as Value)
  let start = 0
  for (const output of node.outputs.slice(0, node.outputs.indexOf(value))) start += output.shape[rank - 1] as number
  return linear && { ...linear, start }
}

/** x·weight (+ bias) with constant weight [K,N] and bias [N]. */
function linearOf(value: Value): Columns | undefined {
  const node = value.producer
  if (node?.op === 'Add') {
    const [x, y] = node.inputs as Value[]
    const [product, bias] = x.constant === undefined ? [x, y.constant] : [y, x.constant]
    const inner = product.producer?.op === 'MatMul' ? linearOf(product) : undefined
    if (inner === undefined || bias?.shape.length !== 1 || bias.shape[0] !== inner.weight.shape[1]) return undefined
    return { ...inner, bias }
  }
  const [x, weight] = node?.inputs ?? []
  if (node?.op !== 'MatMul' || x === undefined || x.constant !== undefined) return undefined
  if (weight?.constant === undefined || weight.shape.length !== 2) return undefined
  return { x, weight: weight.constant, bias: undefined, start: 0 }
}

function interleaved(a: Columns, b: Columns, size: number): Tensor {
  const [rows] = a.weight.shape
  const values = new Float32Array(rows * 2 * size)
  for (const [odd, { weight, start }] of [a, b].entries()) {
    const given = numbersOf(weight)
    const [, columns] = weight.shape
    for (let row = 0; row < rows; row++)
      for (let j = 0; j < size; j++) values[(row * size + j) * 2 + odd] = given[row * columns + start + j]
  }
  return float32Tensor([rows, 2 * size], values)
}

function interleavedBias(a: Columns, b: Columns, size: number): Float32Array<ArrayBuffer> {
  const values = new Float32Array(2 * size)
  for (const [odd, { bias, start }] of [a, b].entries())
    if (bias !== undefined)
      for (const [j, x] of numbersOf(bias)
        .subarray(start, start + size)
        .entries())
        values[2 * j + odd] = x
  return values
}
