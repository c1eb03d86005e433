import { elementCount, numbersOf } from '../../tensor/index.js'
import { type Dim, isBatch, sameDim, sameShape } from '../dim.js'
import { intAttribute, type Node, type Value } from '../ir.js'

/** The node that makes `value`, if it is one of these operators. */
export function madeBy(value: Value | undefined, ...ops: readonly string[]): Node | undefined {
  const node = value?.producer
  return node !== undefined && ops.includes(node.op) && node.outputs[0] === value ? node : undefined
}

/** The number a one-element constant holds. */
export function scalarOf(value: Value | undefined): number | undefined {
  if (value?.constant === undefined || elementCount(value.constant.shape) !== 1) return undefined
  return numbersOf(value.constant)[0]
}

/** Equal up to the rounding of a float32 constant. */
export const near = (a: number, b: number): boolean => Math.abs(a - b) <= 2e-6 * Math.max(Math.abs(a), Math.abs(b))

/** Both ways to read the operands of a commutative operator. */
export function eitherWay(inputs: readonly (Value | undefined)[]): [Value, Value][] {
  const [a, b] = inputs
  return a === undefined || b === undefined
    ? []
    : [
        [a, b],
        [b, a],
      ]
}

/** The axes of a Reduce* node, counted from the front and sorted; undefined where they are not known. */
export function reducedAxes(node: Node): readonly number[] | undefined {
  const rank = node.inputs[0]?.shape.length ?? 0
  const axes = node.inputs[1]
  if (axes === undefined)
    return intAttribute(node.attributes, 'noop_with_empty_axes', 0) ? [] : Array.from({ length: rank }, (_, i) => i)
  const known = numbersIn(axes)
  return known?.map((axis) => (axis < 0 ? axis + rank : axis)).sort((a, b) => a - b)
}

export const keepsDims = (node: Node): boolean => intAttribute(node.attributes, 'keepdims', 1) === 1

/** The elements of a small constant, or of shape arithmetic that came out free of N. */
export function numbersIn(value: Value | undefined): readonly number[] | undefined {
  const known = value?.known
  if (known !== undefined) return known.some(isBatch) ? undefined : (known as readonly number[])
  if (value?.constant !== undefined && elementCount(value.constant.shape) <= 1024)
    return Array.from(numbersOf(value.constant))
  return undefined
}

/** x where `value` is x² in any spelling. */
export function squareRootOfSquare(value: Value): Value | undefined {
  const product = madeBy(value, 'Mul')
  if (product !== undefined && product.inputs[0] === product.inputs[1]) return product.inputs[0]
  const power = madeBy(value, 'Pow')
  return power !== undefined && scalarOf(power.inputs[1]) === 2 ? power.inputs[0] : undefined
}

/** v where `value` is √v in any spelling. */
export function squareOfRoot(value: Value | undefined): Value | undefined {
  const root = madeBy(value, 'Sqrt')
  if (root !== undefined) return root.inputs[0]
  const power = madeBy(value, 'Pow')
  return power !== undefined && scalarOf(power.inputs[1]) === 0.5 ? power.inputs[0] : undefined
}

/** [x, v] for every way to read a node of these inputs as x / √v. */
export function quotientsByRoot(op: string, inputs: readonly (Value | undefined)[]): [Value, Value][] {
  const found: [Value, Value][] = []
  if (op === 'Div' && inputs[0] !== undefined) {
    const v = squareOfRoot(inputs[1])
    if (v !== undefined) found.push([inputs[0], v])
  }
  if (op === 'Mul')
    for (const [x, factor] of eitherWay(inputs)) {
      const v = inverseRoot(factor)
      if (v !== undefined) found.push([x, v])
    }
  return found
}

/** v where `value` is 1/√v. */
function inverseRoot(value: Value): Value | undefined {
  const reciprocal = madeBy(value, 'Reciprocal')
  if (reciprocal !== undefined) return squareOfRoot(reciprocal.inputs[0])
  const quotient = madeBy(value, 'Div')
  if (quotient !== undefined && scalarOf(quotient.inputs[0]) === 1) return squareOfRoot(quotient.inputs[1])
  const power = madeBy(value, 'Pow')
  return power !== undefined && scalarOf(power.inputs[1]) === -0.5 ? power.inputs[0] : undefined
}

/** [variance, ε] where `value` is variance + ε. */
export function withEpsilon(value: Value): [Value, number] | undefined {
  const sum = madeBy(value, 'Add')
  if (sum === undefined) return undefined
  for (const [variance, addend] of eitherWay(sum.inputs)) {
    const epsilon = scalarOf(addend)
    if (epsilon !== undefined && epsilon >= 0 && epsilon < 1e-2) return [variance, epsilon]
  }
  return undefined
}

/** The first of the axes a mean runs over, where these are the last of `value`, kept, and of fixed size. */
export function suffixMean(value: Value): { of: Value; axis: number } | undefined {
  const mean = madeBy(value, 'ReduceMean')
  const of = mean?.inputs[0]
  if (mean === undefined || of === undefined || !keepsDims(mean)) return undefined
  const axes = reducedAxes(mean)
  const rank = of.shape.length
  if (axes === undefined || axes.length === 0 || axes.some((axis, i) => axis !== rank - axes.length + i))
    return undefined
  return of.shape.slice(axes[0]).some(isBatch) ? undefined : { of, axis: axes[0] }
}

/** True where `small` broadcasts into `shape` without changing it. */
export function broadcastsInto(small: readonly Dim[], shape: readonly Dim[]): boolean {
  const lead = shape.length - small.length
  return lead >= 0 && small.every((dim, i) => dim === 1 || sameDim(dim, shape[i + lead]))
}

/** A constant vector of exactly this shape: a scale or a shift of the last axes. */
export const isConstantOf = (value: Value | undefined, shape: readonly Dim[]): value is Value =>
  value?.constant !== undefined && sameShape(value.shape, shape)
