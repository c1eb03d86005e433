import { evaluate, type NdArray } from '../interpreter/index.js'
import { type DType, elementCount, int64Tensor, numbersOf, type Tensor, tensorFromNumbers } from '../tensor/index.js'
import { type Dim, isBatch, multiplyDims, sameDim, sameShape } from './dim.js'
import { type Inferred, infer } from './inference/index.js'
import { type Attributes, type Graph, Node, Value } from './ir.js'

/** Larger results are left to the runtime: folding is for shapes, masks, scalars and small tables, not for copies of weights. */
const FOLD_LIMIT = 1 << 20

/** Constants up to this many elements are compared by content and take part in shape arithmetic. */
const SMALL = 64

/**
 * Appends nodes to a graph: shapes are inferred on the way, equal nodes are shared, nodes whose inputs are all constant are
 * evaluated at once, and operations that change nothing return their input.
 */
export class GraphBuilder {
  readonly graph: Graph
  private readonly shared = new Map<string, readonly Value[]>()
  private readonly ids = new Map<object, number>()
  private readonly names = new Map<string, number>()
  private readonly reserved = new Set<string>()
  private scope = ''

  constructor(graph: Graph) {
    this.graph = graph
    for (const node of graph.nodes) {
      for (const value of [...node.inputs, ...node.outputs]) if (value !== undefined) this.claim(value.name)
      this.shared.set(this.key(node.op, node.inputs, node.attributes, node.outputs.length), node.outputs)
    }
    for (const value of [...graph.inputs, ...graph.outputs]) this.claim(value.name)
  }

  /** Names of nodes emitted inside `body` start with `name/`. */
  within<T>(name: string, body: () => T): T {
    const outer = this.scope
    this.scope = `${outer}${name}/`
    try {
      return body()
    } finally {
      this.scope = outer
    }
  }

  input(name: string, dtype: DType, shape: readonly Dim[]): Value {
    const value = new Value(this.unique(name), dtype, shape)
    this.graph.inputs.push(value)
    return value
  }

  /** A value of known content. Equal small constants are one value, larger ones where they are the same array. */
  constant(tensor: Tensor, name = 'constant'): Value {
    const key = `constant:${this.describe(tensor)}`
    const found = this.shared.get(key)
    if (found !== undefined) return found[0]
    const value = new Value(this.own(this.scope + name), tensor.dtype, tensor.shape)
    value.constant = tensor
    if (elementCount(tensor.shape) <= SMALL) value.known = Array.from(numbersOf(tensor))
    this.shared.set(key, [value])
    return value
  }

  /** Keeps names for constants that come later: what is emitted before them steps aside. */
  reserve(names: Iterable<string>): void {
    for (const name of names) {
      this.claim(name)
      this.reserved.add(name)
    }
  }

  /** An initialiser of a model that training may change: never folded, never shared with an equal one, under its own name. */
  parameter(tensor: Tensor, name: string): Value {
    const value = new Value(this.own(name), tensor.dtype, tensor.shape)
    value.constant = tensor
    value.parameter = true
    return value
  }

  /** Takes a parameter (or another constant) of a second graph into this one as it is: it keeps its identity. */
  adopt(value: Value): Value {
    this.claim(value.name)
    return value
  }

  scalar(value: number, dtype: DType = 'float32'): Value {
    return this.constant(tensorFromNumbers(dtype, [], [value]))
  }

  ints(values: readonly number[]): Value {
    return this.constant(int64Tensor(values), 'ints')
  }

  /** All outputs of a new node (or of an equal one that exists, or constants where everything is known). */
  emitAll(
    op: string,
    inputs: readonly (Value | undefined)[],
    attributes: Attributes = {},
    outputs = 1,
  ): readonly Value[] {
    const given = [...inputs]
    while (given.length > 0 && given[given.length - 1] === undefined) given.pop()
    const key = this.key(op, given, attributes, outputs)
    const found = this.shared.get(key)
    if (found !== undefined) return found
    const inferred = infer(op, given, attributes, outputs)
    const folded = this.fold(op, given, attributes, inferred)
    if (folded !== undefined) {
      this.shared.set(key, folded)
      return folded
    }
    const made = inferred.map(({ dtype, shape, known }) => {
      const value = new Value(this.unique(this.scope + op), dtype, shape)
      value.known = known
      return value
    })
    const node = new Node(op, made[0].name, given, made, attributes)
    this.graph.nodes.push(node)
    this.shared.set(key, made)
    return made
  }

  emit(op: string, inputs: readonly (Value | undefined)[], attributes: Attributes = {}): Value {
    return this.emitAll(op, inputs, attributes)[0]
  }

  /**
   * A node outside the standard, which a backend adds for kernels of its own: types and shapes are given instead of inferred, and nothing
   * is folded. Such a graph is for that backend alone.
   */
  extend(
    op: string,
    inputs: readonly (Value | undefined)[],
    attributes: Attributes,
    outputs: readonly { readonly dtype: DType; readonly shape: readonly Dim[] }[],
  ): readonly Value[] {
    const key = this.key(op, inputs, attributes, outputs.length)
    const found = this.shared.get(key)
    if (found !== undefined) return found
    const made = outputs.map(({ dtype, shape }) => new Value(this.unique(this.scope + op), dtype, shape))
    this.graph.nodes.push(new Node(op, made[0].name, [...inputs], made, attributes))
    this.shared.set(key, made)
    return made
  }

  // Elementwise, with broadcasting. Operands may be plain numbers.

  add(a: Value, b: Value | number): Value {
    return isScalar(b, 0) ? a : this.emit('Add', [a, this.operand(b, a)])
  }
  sub(a: Value, b: Value | number): Value {
    return isScalar(b, 0) ? a : this.emit('Sub', [a, this.operand(b, a)])
  }
  mul(a: Value, b: Value | number): Value {
    return isScalar(b, 1) ? a : this.emit('Mul', [a, this.operand(b, a)])
  }
  div(a: Value, b: Value | number): Value {
    return isScalar(b, 1) ? a : this.emit('Div', [a, this.operand(b, a)])
  }
  neg(a: Value): Value {
    return this.emit('Neg', [a])
  }
  exp(a: Value): Value {
    return this.emit('Exp', [a])
  }
  log(a: Value): Value {
    return this.emit('Log', [a])
  }
  sqrt(a: Value): Value {
    return this.emit('Sqrt', [a])
  }
  /** 1.0 where a > b, else 0.0, in float32: a mask to multiply with. Has no gradient. */
  greaterMask(a: Value, b: Value | number): Value {
    return this.cast(this.emit('Greater', [a, this.operand(b, a)]), 'float32')
  }
  where(condition: Value, a: Value, b: Value | number): Value {
    return this.emit('Where', [condition, a, this.operand(b, a)])
  }
  cast(a: Value, dtype: DType): Value {
    return a.dtype === dtype ? a : this.emit('Cast', [a], { to: dtype })
  }

  // Reductions

  reduceSum(a: Value, axes: readonly number[], keepdims = true): Value {
    return this.reduce('ReduceSum', a, axes, keepdims)
  }
  reduceMean(a: Value, axes: readonly number[], keepdims = true): Value {
    return this.reduce('ReduceMean', a, axes, keepdims)
  }
  reduceMax(a: Value, axes: readonly number[], keepdims = true): Value {
    return this.reduce('ReduceMax', a, axes, keepdims)
  }

  // Shape

  /** An int64 vector of these sizes, usable as a shape input; N is read from the first graph input where it is needed. */
  shapeVector(dims: readonly Dim[]): Value {
    if (!dims.some(isBatch)) return this.ints(dims as number[])
    const pieces: Value[] = []
    for (let i = 0; i < dims.length; ) {
      const dim = dims[i]
      if (isBatch(dim)) {
        pieces.push(this.batchSize(dim.factor))
        i++
        continue
      }
      const run: number[] = []
      for (; i < dims.length; i++) {
        const next = dims[i]
        if (isBatch(next)) break
        run.push(next)
      }
      pieces.push(this.ints(run))
    }
    return pieces.length === 1 ? pieces[0] : this.emit('Concat', pieces, { axis: 0 })
  }

  /** `factor`·N as an int64 vector of one element. */
  batchSize(factor = 1): Value {
    const source = this.graph.inputs.find((input) => isBatch(input.shape[0] ?? 0))
    if (source === undefined) throw new Error('the graph has no input with a batch axis')
    const size = this.emit('Shape', [source], { start: 0, end: 1 })
    return factor === 1 ? size : this.emit('Mul', [size, this.ints([factor])])
  }

  /** A static target with at most one −1 wherever one axis at most depends on N; the runtime shape vector otherwise. */
  reshape(a: Value, shape: readonly Dim[]): Value {
    if (sameShape(a.shape, shape)) return a
    // A reshape of a reshape only sees the first one's input.
    if (a.producer?.op === 'Reshape' && a.producer.inputs[0] !== undefined)
      return this.reshape(a.producer.inputs[0], shape)
    const moving = shape.filter(isBatch).length
    const empty = shape.some((dim) => dim === 0)
    const target =
      moving <= 1 && !empty ? this.ints(shape.map((dim) => (isBatch(dim) ? -1 : dim))) : this.shapeVector(shape)
    return this.emit('Reshape', [a, target], empty ? { allowzero: 1 } : {})
  }

  expand(a: Value, shape: readonly Dim[]): Value {
    return sameShape(a.shape, shape) ? a : this.emit('Expand', [a, this.shapeVector(shape)])
  }

  transpose(a: Value, perm: readonly number[]): Value {
    return perm.every((axis, i) => axis === i) ? a : this.emit('Transpose', [a], { perm: [...perm] })
  }

  /** Swaps the last two axes. */
  matrixTranspose(a: Value): Value {
    const rank = a.shape.length
    const perm = Array.from({ length: rank }, (_, i) => i)
    perm[rank - 1] = rank - 2
    perm[rank - 2] = rank - 1
    return this.transpose(a, perm)
  }

  unsqueeze(a: Value, axes: readonly number[]): Value {
    return this.emit('Unsqueeze', [a, this.ints(axes)])
  }
  squeeze(a: Value, axes: readonly number[]): Value {
    return this.emit('Squeeze', [a, this.ints(axes)])
  }
  concat(values: readonly Value[], axis: number): Value {
    return values.length === 1 ? values[0] : this.emit('Concat', values, { axis })
  }
  slice(
    a: Value,
    starts: readonly number[],
    ends: readonly number[],
    axes: readonly number[],
    steps?: readonly number[],
  ): Value {
    return this.emit('Slice', [a, this.ints(starts), this.ints(ends), this.ints(axes), steps && this.ints(steps)])
  }

  /** A constant-filled tensor of that shape. */
  full(shape: readonly Dim[], value: number): Value {
    return this.emit('ConstantOfShape', [this.shapeVector(shape)], {
      value: tensorFromNumbers('float32', [1], [value]),
    })
  }

  matMul(a: Value, b: Value): Value {
    return this.emit('MatMul', [a, b])
  }

  /**
   * Undoes broadcasting: sums a gradient over the axes along which a value of `shape` was repeated.
   */
  sumTo(gradient: Value, shape: readonly Dim[]): Value {
    if (sameShape(gradient.shape, shape)) return gradient
    const lead = gradient.shape.length - shape.length
    const axes = gradient.shape.flatMap((dim, i) => (i < lead || !sameDim(dim, shape[i - lead]) ? [i] : []))
    const summed = axes.length === 0 ? gradient : this.reduceSum(gradient, axes, true)
    return this.reshape(summed, shape)
  }

  private reduce(op: string, a: Value, axes: readonly number[], keepdims: boolean): Value {
    return axes.length === 0 ? a : this.emit(op, [a, this.ints(axes)], { keepdims: keepdims ? 1 : 0 })
  }

  private operand(b: Value | number, like: Value): Value {
    return typeof b === 'number' ? this.scalar(b, like.dtype) : b
  }

  private fold(
    op: string,
    inputs: readonly (Value | undefined)[],
    attributes: Attributes,
    inferred: readonly Inferred[],
  ): readonly Value[] | undefined {
    if (inferred.every(({ known }) => known !== undefined && !known.some(isBatch)))
      return inferred.map(({ dtype, shape, known }) =>
        this.constant(tensorFromNumbers(dtype, shape as number[], known as number[]), op),
      )
    if (!inputs.every((input) => input === undefined || (input.constant !== undefined && !input.parameter)))
      return undefined
    const sizes = inferred.map(({ shape }) =>
      shape.reduce<Dim | undefined>((n, d) => (n === undefined ? n : multiplyDims(n, d)), 1),
    )
    if (sizes.some((size) => typeof size !== 'number' || size > FOLD_LIMIT)) return undefined
    const arrays = inputs.map(
      (input): NdArray | undefined =>
        input?.constant && { dtype: input.dtype, shape: input.constant.shape, data: numbersOf(input.constant) },
    )
    return evaluate(op, attributes, arrays, inferred.length).map((array, i) =>
      this.constant(tensorFromNumbers(inferred[i].dtype, array.shape, array.data), op),
    )
  }

  private key(op: string, inputs: readonly (Value | undefined)[], attributes: Attributes, outputs: number): string {
    const ids = inputs.map((input) => (input === undefined ? '' : this.id(input)))
    const sorted = Object.keys(attributes)
      .sort()
      .map((name) => `${name}=${this.describe(attributes[name])}`)
    return `${op}(${ids.join()})${sorted.join()}#${outputs}`
  }

  /** Tensors by content where small, by the identity of their array where large. */
  private describe(attribute: Attributes[string]): string {
    if (typeof attribute !== 'object' || !('data' in attribute)) return JSON.stringify(attribute)
    const { dtype, shape, data } = attribute
    if (data.length > SMALL) return `${dtype}[${shape}]@${this.id(data)}`
    const elements = Array.from(data as ArrayLike<number | bigint>, (v) => (Object.is(v, -0) ? '-0' : v))
    return `${dtype}[${shape}]${elements.join()}`
  }

  /** A number for an object, the same as long as this builder lives. */
  private id(object: object): number {
    let id = this.ids.get(object)
    if (id === undefined) {
      id = this.ids.size
      this.ids.set(object, id)
    }
    return id
  }

  private claim(name: string): void {
    if (!this.names.has(name)) this.names.set(name, 0)
  }

  /** The name itself where it was kept for this value. */
  private own(name: string): string {
    return this.reserved.delete(name) ? name : this.unique(name)
  }

  private unique(name: string): string {
    const count = this.names.get(name)
    if (count === undefined) {
      this.names.set(name, 0)
      return name
    }
    for (let i = count + 1; ; i++) {
      const candidate = `${name}_${i}`
      if (!this.names.has(candidate)) {
        this.names.set(name, i)
        this.names.set(candidate, 0)
        return candidate
      }
    }
  }
}

function isScalar(value: Value | number, number: number): boolean {
  if (typeof value === 'number') return value === number
  return (
    value.constant !== undefined &&
    value.shape.length === 0 &&
    Number(value.constant.data[0]) === number &&
    !value.parameter
  )
}
