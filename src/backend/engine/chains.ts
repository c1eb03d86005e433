import {
  type Dim,
  intAttribute,
  intsAttribute,
  isBatch,
  multiplyDims,
  type Node,
  sameDim,
  sameShape,
  uniformValue,
  type Value,
} from '../../graph/index.js'
import { numbersOf } from '../../tensor/index.js'
import type { NormGradient } from './folded-norms.js'
import { reshapes } from './functions.js'
import { type Epilogue, PlanBuffer } from './program.js'
import { elementsOf, isDense, reshaped, transposed, type View, viewOf } from './view.js'
import { leavesPixelsOut } from './windows.js'

/**
 * A product with a constant matrix, or a convolution, and what its epilogue takes in: bias, scale, position table, residual, activation or
 * an activation's backward. The step is emitted in the place of the last node taken in, where all operands exist.
 */
export interface Chain {
  readonly root: Node
  /** Rows of the product. */
  readonly a: Value
  /** The constant operand [K,N], or [N,K] where `transposedB`; of a convolution its weight [O,kh,kw,I]. */
  readonly matrix: Value
  readonly transposedB: boolean
  /** Columns of the product. */
  readonly n: number
  readonly nodes: readonly Node[]
  readonly output: Value
  readonly epilogue: Epilogue
  /** [n] each, in the order out = residual + scale·(product + bias). */
  readonly bias: FloatVector | undefined
  readonly scale: FloatVector | undefined
  /** [period·n], added to the rows of each image. */
  readonly table: { readonly values: FloatVector; readonly period: number } | undefined
  readonly residual: Value | undefined
  /** The pre-activation: kept by a forward activation where a backward needs it, read by a backward one. */
  readonly aux: Value | undefined
  readonly auxKept: boolean
  /** Constant rows that a concatenation puts in front of each image's rows, [rows·n]. */
  readonly prefix: { readonly values: FloatVector; readonly rows: number; readonly period: number } | undefined
  /** Of norm_backward. */
  readonly normGradient?: NormGradient
}

type FloatVector = Float32Array<ArrayBuffer>

export type Uses = ReadonlyMap<Value, readonly Node[]>

/** Users of every value; a graph output counts as a use by no node. */
export function usesOf(nodes: readonly Node[], outputs: readonly Value[]): { uses: Uses; kept: ReadonlySet<Value> } {
  const uses = new Map<Value, Node[]>()
  for (const node of nodes)
    for (const input of new Set(node.inputs))
      if (input !== undefined) uses.set(input, [...(uses.get(input) ?? []), node])
  return { uses, kept: new Set(outputs) }
}

/** Changes of layout that leave the rows of the product whole, whatever becomes of their order. */
function keepsRows(node: Node, columns: number): boolean {
  if (node.outputs[0].shape.at(-1) !== columns || node.outputs[0].shape.length < 2) return false
  if (node.op === 'Transpose') {
    const perm = intsAttribute(node.attributes, 'perm')
    return perm !== undefined && perm[perm.length - 1] === perm.length - 1
  }
  return reshapes.has(node.op)
}

/**
 * Reshapes and transposes from a value on after which its rows are whole again: tokens made a picture and back, a batch axis moved to the
 * front. `dense`: their order is the old one as well.
 */
function layoutDetour(
  value: Value,
  uses: Uses,
  kept: ReadonlySet<Value>,
  columns: number,
): { nodes: Node[]; dense: boolean } {
  const nodes: Node[] = []
  let found = { nodes: [] as Node[], dense: true }
  let view: View | undefined = viewOf(new PlanBuffer('value', elementsOf(value.shape)), value.shape)
  let at = value
  let rowsWhole = true
  for (;;) {
    const [user, ...more] = uses.get(at) ?? []
    if (user === undefined || more.length > 0 || kept.has(at)) break
    if (user.op !== 'Transpose' && !reshapes.has(user.op)) break
    const [out] = user.outputs
    view =
      user.op === 'Transpose'
        ? transposed(view, intsAttribute(user.attributes, 'perm') ?? view.axes.map((_, i) => out.shape.length - 1 - i))
        : reshaped(view, out.shape)
    if (view === undefined) break
    nodes.push(user)
    rowsWhole &&= keepsRows(user, columns)
    at = out
    const dense = isDense(view)
    if (out.shape.at(-1) === columns && (dense || rowsWhole)) found = { nodes: [...nodes], dense }
  }
  return found
}

/** The constant matrix of a product of rows: [K,N], or [N,K] where `transposedB`. */
export function constantMatrix(root: Node): { matrix: Value; transposedB: boolean } | undefined {
  if (root.op !== 'MatMul' && root.op !== 'Gemm') return undefined
  const [a, given] = root.inputs
  if (a === undefined || given === undefined || intAttribute(root.attributes, 'transA', 0) !== 0) return undefined
  let matrix = given
  let transposedB = intAttribute(root.attributes, 'transB', 0) !== 0
  if (matrix.constant === undefined) {
    // A large constant is not folded through its transpose.
    const swap = matrix.producer
    const source = swap?.inputs[0]
    if (swap?.op !== 'Transpose' || source?.constant === undefined || source.shape.length !== 2) return undefined
    matrix = source
    transposedB = !transposedB
  }
  return matrix.shape.length !== 2 || a.shape.length < 2 ? undefined : { matrix, transposedB }
}

/** The chain that starts at a product with a constant matrix, or undefined where the node is none. */
export function chainAt(root: Node, uses: Uses, kept: ReadonlySet<Value>, taken: ReadonlySet<Node>): Chain | undefined {
  if (convolutions.has(root.op)) return convolutionAt(root, uses, kept, taken)
  const operand = constantMatrix(root)
  const [a, , c] = root.inputs
  if (operand === undefined || a === undefined) return undefined
  const { matrix, transposedB } = operand
  const { attributes } = root
  const n = matrix.shape[transposedB ? 0 : 1] as number
  const alpha = root.op === 'Gemm' ? intAttribute(attributes, 'alpha', 1) : 1
  if (alpha !== 1 && c !== undefined) return undefined

  const chain = started(root, a, matrix, transposedB, n)
  if (alpha !== 1) chain.scale = new Float32Array(n).fill(alpha)
  if (c !== undefined) {
    chain.bias = perColumn(c, n, intAttribute(attributes, 'beta', 1))
    if (chain.bias === undefined) return undefined
  }
  takeIn(chain, uses, kept, taken)
  return chain
}

/** Convolutions and their backward, with a constant weight: their output is rows of pixels, as a product's is. */
const convolutions: ReadonlySet<string> = new Set(['signstep.Convolution', 'signstep.ConvolutionBackward'])

function convolutionAt(root: Node, uses: Uses, kept: ReadonlySet<Value>, taken: ReadonlySet<Node>): Chain | undefined {
  const [a, weight] = root.inputs
  if (a === undefined || weight?.constant === undefined) return undefined
  const chain = started(root, a, weight, false, root.outputs[0].shape[3] as number)
  takeIn(chain, uses, kept, taken)
  return chain
}

const started = (root: Node, a: Value, matrix: Value, transposedB: boolean, n: number): Building => ({
  root,
  a,
  matrix,
  transposedB,
  n,
  nodes: [root],
  output: root.outputs[0],
  epilogue: 'store',
  bias: undefined,
  scale: undefined,
  table: undefined,
  residual: undefined,
  aux: undefined,
  auxKept: false,
  prefix: undefined,
})

/** Takes into the chain what follows, as far as an epilogue goes. */
function takeIn(chain: Building, uses: Uses, kept: ReadonlySet<Value>, taken: ReadonlySet<Node>): void {
  const { n } = chain
  const product = !convolutions.has(chain.root.op)
  const sparse = !product && leavesPixelsOut(chain.root)
  const take = (node: Node): void => {
    chain.nodes = [...chain.nodes, node]
    chain.output = node.outputs[0]
  }
  // Whether the rows still follow one another as the product makes them.
  let ordered = true
  for (;;) {
    const value = chain.output
    const users = uses.get(value) ?? []
    if (kept.has(value) || users.length === 0 || users.some((user) => taken.has(user))) break
    const plain = chain.residual === undefined && chain.table === undefined
    // Behind a residual an epilogue has a ReLU or its backward, and nothing more.
    const mayBend = chain.table === undefined && chain.scale === undefined

    // An activation whose backward needs the pre-activation.
    const activation = users.find(({ op }) => op === 'Gelu' || op === 'Relu' || op === 'signstep.SwiGlu')
    const others = users.filter((user) => user !== activation)
    const backwards = others.every((user) => activationBackwards.has(user.op) && user.inputs[0] === value)
    const bends = plain || (activation?.op === 'Relu' && others.length === 0)
    if (activation !== undefined && backwards && mayBend && bends && !sparse) {
      chain.epilogue = epilogueOf(activation)
      chain.aux = others.length > 0 ? value : undefined
      chain.auxKept = others.length > 0
      take(activation)
      break
    }
    if (users.length !== 1) break
    const [user] = users
    const layout = layoutDetour(value, uses, kept, n)
    if (layout.nodes.length > 0 && product && chain.residual === undefined) {
      for (const node of layout.nodes) take(node)
      ordered &&= layout.dense
      continue
    }
    const gated = user.op === 'signstep.SwiGluBackward'
    if (!gated && user.outputs[0].shape.at(-1) !== n) break
    if (activationBackwards.has(user.op) && user.inputs[1] === value && user.inputs[0] !== value) {
      const kind = gated ? 'swiglu' : String(user.attributes.kind)
      if (!mayBend || chain.bias !== undefined || !(plain || kind === 'relu')) break
      if (sparse && chain.residual !== undefined && !masked(chain.residual, user.inputs[0])) break
      chain.epilogue = `${kind}_backward` as Epilogue
      chain.aux = user.inputs[0]
      take(user)
      break
    }
    if (chain.residual !== undefined || (sparse && user.op !== 'Add')) break
    if (user.op === 'Concat' && product && ordered && chain.prefix === undefined) {
      const prefix = prefixOf(user, value, n)
      if (prefix === undefined || (chain.table !== undefined && chain.table.period !== value.shape[1])) break
      chain.prefix = prefix
      take(user)
      continue
    }
    if (user.op !== 'Add' && user.op !== 'Mul') break
    const other = user.inputs[0] === value ? user.inputs[1] : user.inputs[0]
    if (other === undefined || other === value || !sameShape(user.outputs[0].shape, value.shape)) break
    if (sparse) {
      // Only its own pixels are written: the others must be there, in a buffer that nobody else wants.
      if (!overwritable(other, uses, kept) || !sameShape(other.shape, value.shape)) break
      chain.residual = other
      take(user)
      continue
    }
    const vector = perColumn(other, n)
    if (user.op === 'Mul') {
      if (vector === undefined || !plain || chain.prefix !== undefined) break
      chain.scale = chain.scale === undefined ? vector : chain.scale.map((s, i) => s * vector[i])
      take(user)
      continue
    }
    if (vector !== undefined && plain && chain.scale === undefined && chain.prefix === undefined) {
      chain.bias = chain.bias === undefined ? vector : chain.bias.map((s, i) => s + vector[i])
      take(user)
      continue
    }
    const rows = ordered ? perRow(other, value.shape, n) : undefined
    if (rows !== undefined) {
      if (!addRows(chain, rows, value.shape[1] as number, n)) break
      take(user)
      continue
    }
    if (other.constant !== undefined || !plain || !sameShape(other.shape, value.shape)) break
    chain.residual = other
    take(user)
  }
}

/** Whether a value has been through the backward of a ReLU whose result this is. */
const masked = ({ producer }: Value, result: Value | undefined): boolean =>
  producer?.op === 'signstep.ActivationBackward' && producer.attributes.kind === 'relu' && producer.inputs[0] === result

/** Operators whose result lies in a buffer of its own. */
const computing: ReadonlySet<string> = new Set([...convolutions, 'MatMul', 'Add', 'signstep.ActivationBackward'])

const overwritable = (value: Value, uses: Uses, kept: ReadonlySet<Value>): boolean =>
  value.producer !== undefined && computing.has(value.producer.op) && uses.get(value)?.length === 1 && !kept.has(value)

const activationBackwards: ReadonlySet<string> = new Set(['signstep.ActivationBackward', 'signstep.SwiGluBackward'])

function epilogueOf({ op, attributes }: Node): Epilogue {
  if (op === 'Relu') return 'relu'
  if (op === 'signstep.SwiGlu') return 'swiglu'
  return attributes.approximate === 'tanh' ? 'gelu_tanh' : 'gelu_erf'
}

type Building = { -readonly [K in keyof Chain]: Chain[K] }

/** Adds [rows·n] to the position table, the part of the prefix to the prefix. False where the periods do not fit. */
function addRows(chain: Pick<Building, 'table' | 'prefix'>, rows: FloatVector, period: number, n: number): boolean {
  const front = (chain.prefix?.rows ?? 0) * n
  const own = rows.slice(front)
  if (chain.table !== undefined && chain.table.period * n !== own.length) return false
  if (chain.prefix !== undefined)
    chain.prefix = { ...chain.prefix, values: chain.prefix.values.map((value, i) => value + rows[i]) }
  const before = chain.table?.values
  chain.table = {
    values: before === undefined ? own : before.map((value, i) => value + own[i]),
    period: period - (chain.prefix?.rows ?? 0),
  }
  return true
}

/** A constant that has one number for each of n columns, times `factor`. */
function perColumn(value: Value, n: number, factor = 1): FloatVector | undefined {
  if (value.constant === undefined) return undefined
  const numbers = numbersOf(value.constant)
  if (numbers.length === 1) return new Float32Array(n).fill(numbers[0] * factor)
  if (numbers.length !== n || value.shape.at(-1) !== n) return undefined
  return Float32Array.from(numbers, (x) => x * factor)
}

/** A constant [1,rows,n] or [rows,n] beside a value [N,rows,n]. */
function perRow(value: Value, shape: readonly Dim[], n: number): FloatVector | undefined {
  if (value.constant === undefined || shape.length !== 3 || !isBatch(shape[0]) || typeof shape[1] !== 'number')
    return undefined
  const own = value.shape.slice(-2)
  if (own.length !== 2 || own[0] !== shape[1] || own[1] !== n || value.constant.data.length !== shape[1] * n)
    return undefined
  return Float32Array.from(numbersOf(value.constant))
}

/** Concat([constant rows repeated over the batch …, value], axis 1). */
function prefixOf(node: Node, value: Value, n: number): Chain['prefix'] {
  const axis = intAttribute(node.attributes, 'axis', 0)
  if (value.shape.length !== 3 || !isBatch(value.shape[0]) || (axis !== 1 && axis !== -2)) return undefined
  const parts = node.inputs.slice(0, -1)
  if (node.inputs.at(-1) !== value || parts.length === 0) return undefined
  const values: number[] = []
  for (const part of parts) {
    const rows = part && repeatedRows(part)
    if (part === undefined || rows === undefined || part.shape[2] !== n || !sameDim(part.shape[0], value.shape[0]))
      return undefined
    for (const number of rows) values.push(number)
  }
  return { values: Float32Array.from(values), rows: values.length / n, period: value.shape[1] as number }
}

/** The content of a constant [1,rows,n] that is expanded over the batch. */
function repeatedRows(value: Value): Float64Array | undefined {
  const node = value.producer
  if (node?.op === 'Add' || node?.op === 'Mul') {
    // A token added to zeros of the batch's size.
    const [a, b] = node.inputs as Value[]
    const [x, y] = [uniformValue(a, false), uniformValue(b, false)]
    const constant = x === undefined ? a : b
    const number = x ?? y
    const rows = value.shape[1]
    if (number === undefined || constant.constant === undefined || typeof rows !== 'number') return undefined
    const own = numbersOf(constant.constant)
    if (own.length !== rows * (value.shape[2] as number)) return undefined
    return node.op === 'Add' ? own.map((z) => z + number) : own.map((z) => z * number)
  }
  const source = node?.inputs[0]
  if (node === undefined || source?.constant === undefined) return undefined
  if (node.op !== 'Expand' && node.op !== 'Tile') return undefined
  const whole = value.shape.reduce<Dim | undefined>((n, dim) => (n === undefined ? n : multiplyDims(n, dim)), 1)
  const once = source.constant.data.length
  if (source.shape.length !== 3 || source.shape[0] !== 1 || whole === undefined || !sameDim(whole, { factor: once }))
    return undefined
  return numbersOf(source.constant)
}
