import { ModelError } from '../../errors/index.js'
import { type Dim, isBatch, sameDim, type Value } from '../../graph/index.js'
import { float32Tensor, numbersOf, type Tensor } from '../../tensor/index.js'
import type { Constants } from './constants.js'
import type { FoldedRows } from './folded-norms.js'
import { type ElementType, type FunctionName, functions, type OpName, PlanBuffer, type Step } from './program.js'
import {
  broadcast,
  coversBuffer,
  elementsOf,
  isWhole,
  joinLoops,
  type Loop,
  loopsOver,
  reshaped,
  shapeOf,
  type View,
  viewOf,
} from './view.js'

/** The most axes of an elementwise, reducing or copying kernel, after neighbours have been joined. */
export const RANK = 6

/** Buffers that the engine itself fills or reads. */
export interface Ends {
  readonly input: PlanBuffer
  readonly logits: PlanBuffer
  readonly imageGradient: PlanBuffer
}

export interface LossStep {
  readonly code: number
  readonly targeted: boolean
  readonly classes: number
}

/** What lowering a graph builds up: where every value lies, and the kernel launches so far. */
export class Lowering {
  readonly steps: Step[] = []
  readonly ends: Ends
  readonly constants: Constants
  readonly loss: LossStep
  readonly logits: Value
  readonly folded: FoldedRows
  private readonly views = new Map<Value, View>()
  /** Reshapes, made when somebody asks: what looks through them needs no copy. */
  private readonly deferred = new Map<Value, () => View>()

  constructor(parts: {
    ends: Ends
    constants: Constants
    loss: LossStep
    images: Value
    logits: Value
    folded: FoldedRows
  }) {
    this.ends = parts.ends
    this.constants = parts.constants
    this.loss = parts.loss
    this.logits = parts.logits
    this.folded = parts.folded
    this.views.set(parts.images, viewOf(parts.ends.input, parts.images.shape))
  }

  view(value: Value): View {
    const known = this.views.get(value)
    if (known !== undefined) return known
    const make = this.deferred.get(value)
    if (make === undefined && value.constant === undefined) throw new Error(`${value.name} was not computed`)
    const view = make?.() ?? viewOf(this.constants.of(floats(value.constant as Tensor), 'float32'), value.shape)
    this.views.set(value, view)
    return view
  }

  defer(value: Value, make: () => View): void {
    if (value === this.logits) this.define(value, make())
    else this.deferred.set(value, make)
  }

  /** Says where a value lies. Logits are moved to their own buffer where they are not there yet. */
  define(value: Value, view: View): void {
    const own = viewOf(this.ends.logits, value.shape)
    if (value === this.logits && view.buffer !== this.ends.logits) {
      this.move(view, own, value.name)
      this.views.set(value, own)
    } else this.views.set(value, view)
  }

  fresh(shape: readonly Dim[], type: ElementType = 'value'): View {
    return viewOf(new PlanBuffer(type, elementsOf(shape)), shape)
  }

  /** A new buffer whose elements lie in the order of another view of the same shape. */
  freshLike(view: View): View {
    return coversBuffer(view)
      ? { ...view, buffer: new PlanBuffer('value', view.buffer.elements) }
      : this.fresh(shapeOf(view))
  }

  step(
    op: OpName,
    name: string,
    buffers: readonly (PlanBuffer | undefined)[],
    ints: readonly Dim[],
    numbers: readonly number[] = [],
  ): void {
    this.steps.push({ op, name, buffers, ints, floats: numbers })
  }

  /** The view itself where it is a dense array of activations at the start of its buffer, or a copy that is. */
  whole(view: View, name: string): View {
    return isWhole(view) && this.isValue(view) ? view : this.copied(view, name)
  }

  isValue({ buffer }: View): boolean {
    return buffer.type === 'value' && buffer.constant === undefined
  }

  copied(view: View, name: string): View {
    const to = this.fresh(shapeOf(view))
    this.move(view, to, name)
    return to
  }

  /** Copies elements between places of the same shape, of the same or of different element types. */
  move(from: View, to: View, name: string): void {
    if (from.buffer.type !== to.buffer.type) {
      if (coversBuffer(to)) {
        this.elementwise('identity', [from], to, name)
        return
      }
      const converted = this.fresh(shapeOf(from), to.buffer.type)
      this.elementwise('identity', [from], converted, name)
      this.move(converted, to, name)
      return
    }
    const loops = loopsOver([from, to])
    if (loops.length > RANK) throw uncovered(name, `a copy over ${loops.length} separate axes`)
    const ints = [loops.length, ...sizes(loops), ...strides(loops, 0), ...strides(loops, 1), from.offset, to.offset]
    this.step('copy', name, [to.buffer, from.buffer], ints)
  }

  /** to = fn(operands), broadcast to its shape. `to` must be the whole of its buffer, in any order. */
  elementwise(
    fn: FunctionName,
    operands: readonly View[],
    to: View,
    name: string,
    parameters: readonly number[] = [],
  ): void {
    const shape = shapeOf(to)
    const wide = operands.map((operand) => broadcast(operand, shape))
    // The kernel writes one element after the other: loops go in the order of the result's memory.
    const inOrder = joinLoops(
      loopsOver([to, ...wide]).sort(
        (a, b) => rank(b.strides[0])[0] - rank(a.strides[0])[0] || rank(b.strides[0])[1] - rank(a.strides[0])[1],
      ),
    )
    if (inOrder.length > RANK) throw uncovered(name, `an operation over ${inOrder.length} separate axes`)
    const three = [1, 2, 3]
    this.step(
      'elementwise',
      name,
      [to.buffer, ...wide.map(({ buffer }) => buffer)],
      [
        functions[fn],
        inOrder.length,
        ...sizes(inOrder),
        ...three.flatMap((i) => strides(inOrder, i)),
        ...three.map((i) => wide[i - 1]?.offset ?? 0),
      ],
      parameters,
    )
  }

  /** The result of an elementwise operation: it lies as the first operand of its own shape does. */
  computed(
    fn: FunctionName,
    operands: readonly View[],
    value: Value,
    name: string,
    parameters: readonly number[] = [],
  ): void {
    const like = operands.find(
      (operand) =>
        this.isValue(operand) &&
        shapeOf(operand).every((dim, i) => sameDim(dim, value.shape[i])) &&
        operand.axes.length === value.shape.length,
    )
    const to =
      value === this.logits
        ? viewOf(this.ends.logits, value.shape)
        : like === undefined
          ? this.fresh(value.shape)
          : this.freshLike(like)
    this.elementwise(fn, operands, to, name, parameters)
    this.define(value, to)
  }

  /** An operand that is read element beside element: as it is where it lies as the result does, else a copy that does. */
  alike(operand: View, result: View, name: string): View {
    const same = (a: Dim, b: Dim): boolean => (isBatch(a) ? isBatch(b) && a.factor === b.factor : a === b)
    const fits =
      this.isValue(operand) &&
      coversBuffer(operand) &&
      loopsOver([operand, result]).every(({ strides: [own, other] }) => same(own, other))
    if (fits) return operand
    const copy = { ...result, buffer: new PlanBuffer('value', elementsOf(shapeOf(result))) }
    this.move(operand, copy, name)
    return copy
  }

  /** The view in another shape, copied where that cannot be done by strides. */
  reshape(view: View, shape: readonly Dim[], name: string): View {
    return reshaped(view, shape) ?? viewOf(this.copied(view, name).buffer, shape)
  }
}

const rank = (stride: Dim): readonly [number, number] => (isBatch(stride) ? [1, stride.factor] : [0, stride])

export const sizes = (loops: readonly Loop[]): Dim[] =>
  padded(
    loops.map(({ size }) => size),
    1,
  )
export const strides = (loops: readonly Loop[], operand: number): Dim[] =>
  padded(
    loops.map((loop) => loop.strides[operand] ?? 0),
    0,
  )
export const padded = (list: readonly Dim[], filler: number, count = RANK): Dim[] => [
  ...list,
  ...new Array<Dim>(count - list.length).fill(filler),
]

/** One conversion per tensor, so that equal constants stay one. */
const conversions = new WeakMap<object, Tensor>()

export function floats(tensor: Tensor): Tensor {
  if (tensor.dtype === 'float32') return tensor
  let converted = conversions.get(tensor.data)
  if (converted === undefined) {
    converted = float32Tensor(tensor.shape, Float32Array.from(numbersOf(tensor)))
    conversions.set(tensor.data, converted)
  }
  return converted
}

/** The numbers of an integer input, undefined where they are not known. */
export function integers(value: Value | undefined): number[] | undefined {
  if (value?.constant !== undefined) return Array.from(numbersOf(value.constant))
  if (value?.known === undefined || value.known.some(isBatch)) return undefined
  return [...value.known] as number[]
}

export function uncovered(node: string, found: string): ModelError {
  return new ModelError('OPERATOR_UNSUPPORTED', 'no kernel covers this yet', {
    subject: node,
    found,
    cure: 'The model runs with --device cpu, in float32.',
  })
}
