import type { GraphBuilder, Node, Value } from '../../graph/index.js'
import { float32Tensor, numbersOf, type Tensor } from '../../tensor/index.js'
import type { Replacement } from './fuse.js'

/** A product with a weight [K,N] and the bias behind it. */
interface Linear {
  readonly matMul: Node
  readonly weight: Tensor
  readonly bias: Tensor | undefined
  /** The node whose output is the result: the addition of the bias, or the product. */
  readonly last: Node
}

/**
 * Products of one input with several weights (separate query, key and value projections, gate and value of a gated MLP) as one product with
 * the weights side by side and a split behind it: the input is read once, and the backward is one product too.
 */
export function parallelProducts(nodes: readonly Node[], outputs: readonly Value[]): ReadonlyMap<Node, Replacement> {
  const uses = new Map<Value, Node[]>()
  for (const node of nodes)
    for (const input of node.inputs) if (input !== undefined) uses.set(input, [...(uses.get(input) ?? []), node])
  const groups = new Map<Value, Linear[]>()
  for (const matMul of nodes) {
    const linear = linearAt(matMul, uses, outputs)
    const [x] = matMul.inputs
    if (linear !== undefined && x !== undefined) groups.set(x, [...(groups.get(x) ?? []), linear])
  }
  const replacements = new Map<Node, Replacement>()
  for (const [x, linears] of groups)
    if (linears.length > 1) for (const [node, replacement] of merged(x, linears)) replacements.set(node, replacement)
  return replacements
}

function linearAt(
  matMul: Node,
  uses: ReadonlyMap<Value, readonly Node[]>,
  outputs: readonly Value[],
): Linear | undefined {
  const [x, weight] = matMul.inputs
  if (matMul.op !== 'MatMul' || x === undefined || x.constant !== undefined || weight?.constant?.shape.length !== 2)
    return undefined
  const [product] = matMul.outputs
  const [user, ...more] = uses.get(product) ?? []
  if (user?.op === 'Add' && more.length === 0 && !outputs.includes(product)) {
    const bias = (user.inputs[0] === product ? user.inputs[1] : user.inputs[0])?.constant
    if (bias !== undefined && bias.shape.length === 1 && bias.shape[0] === weight.constant.shape[1])
      return { matMul, weight: weight.constant, bias, last: user }
  }
  return { matMul, weight: weight.constant, bias: undefined, last: matMul }
}

function merged(x: Value, linears: readonly Linear[]): [Node, Replacement][] {
  const [rows] = linears[0].weight.shape
  const sizes = linears.map(({ weight }) => weight.shape[1])
  const columns = sizes.reduce((a, b) => a + b, 0)
  const starts = sizes.map((_, i) => sizes.slice(0, i).reduce((a, b) => a + b, 0))
  const matrix = new Float32Array(rows * columns)
  const shift = new Float32Array(columns)
  for (const [i, { weight, bias }] of linears.entries()) {
    const values = weight.dtype === 'float32' ? (weight.data as Float32Array) : numbersOf(weight)
    for (let r = 0; r < rows; r++)
      matrix.set(values.subarray(r * sizes[i], (r + 1) * sizes[i]), r * columns + starts[i])
    if (bias !== undefined) shift.set(numbersOf(bias), starts[i])
  }
  const [weight, bias] = [float32Tensor([rows, columns], matrix), float32Tensor([columns], shift)]
  const biased = linears.some((linear) => linear.bias !== undefined)
  // Equal nodes are shared, so that whoever comes first makes the product and the split.
  const all = (b: GraphBuilder, own: Value): readonly Value[] => {
    const product = b.matMul(own, b.constant(weight, 'weight'))
    const sum = biased ? b.add(product, b.constant(bias, 'bias')) : product
    return b.emitAll('Split', [sum, b.ints(sizes)], { axis: own.shape.length - 1 }, sizes.length)
  }
  return linears.map(({ last }, i) => [last, { inputs: [x], emit: (b, [own]) => all(b, own)[i] }])
}
