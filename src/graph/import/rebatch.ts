import type { GraphBuilder } from '../builder.js'
import { type BatchDim, batchDim, type Dim, isBatch, sizeAt } from '../dim.js'
import { type Attributes, intAttribute, type Value } from '../ir.js'

/** Operators whose operands are aligned at the last axis and broadcast. */
const broadcasting = new Set([
  ...['Add', 'Sub', 'Mul', 'Div', 'Pow', 'Mod', 'Min', 'Max', 'Sum', 'Mean', 'Where', 'MatMul'],
  ...['Equal', 'Greater', 'GreaterOrEqual', 'Less', 'LessOrEqual', 'And', 'Or', 'Xor'],
])

/**
 * Makes the fixed batch of an export free. The exporter wrote its batch size B₀ as a number into reshape targets, expanded constants and
 * indices; knowing where N lies in a tensor tells which of these numbers stand for it. The result is compared with the original when
 * the model is loaded, so a wrong guess is an error, never a wrong number.
 */
export class Rebatcher {
  /** B₀. */
  readonly original: number
  private readonly b: GraphBuilder
  /** How many elements of the batch axis lie inside N, for values in which N is not the outermost part of it. */
  private readonly inner = new Map<Value, number>()

  constructor(b: GraphBuilder, original: number) {
    this.b = b
    this.original = original
  }

  /** The node with N in place of B₀, or undefined where it holds as the file has it. */
  emit(op: string, inputs: readonly (Value | undefined)[], attributes: Attributes): readonly Value[] | undefined {
    const [x, second] = inputs
    const made = this.rewritten(op, x, second, inputs, attributes)
    if (made !== undefined) this.follow(inputs, [made])
    return made && [made]
  }

  private rewritten(
    op: string,
    x: Value | undefined,
    second: Value | undefined,
    inputs: readonly (Value | undefined)[],
    attributes: Attributes,
  ): Value | undefined {
    if (x === undefined) return undefined
    const numbers = second?.known?.some(isBatch) ? undefined : (second?.known as readonly number[] | undefined)
    if (op === 'Concat') return this.concat(inputs as readonly Value[], attributes)
    if (broadcasting.has(op)) return this.broadcast(op, inputs as readonly Value[], attributes)
    if (!x.shape.some(isBatch)) return undefined
    if (op === 'Reshape' && numbers !== undefined) return this.reshape(x, this.resolved(x, numbers, attributes))
    if (op === 'Expand' && numbers !== undefined) return this.expand(x, numbers)
    if (op === 'Slice') return this.slice(x, inputs)
    if (op === 'Gather' && second?.constant !== undefined) return this.gather(x, second, attributes)
    return undefined
  }

  /** Hands the position of N down from an operator's inputs to its outputs. */
  follow(inputs: readonly (Value | undefined)[], outputs: readonly Value[]): void {
    for (const output of outputs) {
      const dim = output.shape.find(isBatch)
      if (dim === undefined || this.inner.has(output)) continue
      const source = inputs.find((input) => input?.shape.find(isBatch)?.factor === dim.factor)
      if (source !== undefined && this.inner.has(source)) this.inner.set(output, this.innerOf(source))
    }
  }

  /** −1 and 0 of a reshape target as numbers, at the original batch. */
  private resolved(x: Value, target: readonly number[], attributes: Attributes): number[] {
    const sizes = this.sizes(x.shape)
    const filled = target.map((d, i) => (d === 0 && attributes.allowzero !== 1 ? sizes[i] : d))
    const known = product(filled.filter((d) => d !== -1))
    return filled.map((d) => (d === -1 ? product(sizes) / known : d))
  }

  /**
   * The shape a reshape to `target` (numbers at the original batch) stands for when N is free. The row-major stride of N stays what it
   * is. Where B₀ is 1 several axes may span it, so they are tried in this order: the axis that is the batch alone; the one that
   * begins with it (heads and windows are inner to it), unless that is the last, which holds features; the one that ends in it.
   */
  private reshape(x: Value, target: readonly number[]): Value {
    const axis = x.shape.findIndex(isBatch)
    const stride = product(this.sizes(x.shape.slice(axis + 1))) * this.innerOf(x)
    const strides = target.map((_, i) => product(target.slice(i + 1)))
    let place = target.findIndex((size, i) => strides[i] === stride && size === this.original)
    if (place < 0)
      place = target.findIndex((size, i) => i < target.length - 1 && strides[i] * size === stride * this.original)
    if (place < 0) place = strides.findIndex((s) => s <= stride)
    const factor = target[place] / this.original
    if (!Number.isInteger(factor)) return this.b.reshape(x, target)
    const result = this.b.reshape(
      x,
      target.map((size, i) => (i === place ? batchDim(factor) : size)),
    )
    this.inner.set(result, stride / strides[place])
    return result
  }

  private expand(x: Value, target: readonly number[]): Value {
    const rank = Math.max(x.shape.length, target.length)
    const shape = Array.from({ length: rank }, (_, axis): Dim => {
      const from = x.shape[axis - (rank - x.shape.length)] ?? 1
      const to = target[axis - (rank - target.length)] ?? 1
      return to === 1 || sizeAt(from, this.original) === to ? from : to
    })
    return this.b.expand(x, shape)
  }

  /** Constants written once per sample stand beside the model's own values: [B₀,1,C] and [N,L,C]. */
  private concat(inputs: readonly Value[], attributes: Attributes): Value | undefined {
    const model = inputs.find((input) => input.shape.some(isBatch))
    const place = model?.shape.findIndex(isBatch) ?? -1
    const axis = intAttribute(attributes, 'axis', 0)
    if (model === undefined || place === (axis < 0 ? axis + model.shape.length : axis)) return undefined
    return this.b.concat(
      inputs.map((input) => {
        if (!this.standsForBatch(input, place, model)) return input
        const row = this.oneSample(input, place, model)
        return this.b.expand(
          row,
          row.shape.map((dim, i) => (i === place ? model.shape[place] : dim)),
        )
      }),
      axis,
    )
  }

  private broadcast(op: string, inputs: readonly Value[], attributes: Attributes): Value | undefined {
    const model = inputs.find((input) => input.shape.some(isBatch))
    if (model === undefined) return undefined
    // Counted from the end, because operands are aligned there.
    const fromEnd = model.shape.findIndex(isBatch) - model.shape.length
    if (op === 'MatMul' && fromEnd >= -2) return undefined
    let changed = false
    const aligned = inputs.map((input) => {
      const place = input.shape.length + fromEnd
      if (place < 0 || input.shape[place] === 1 || !this.standsForBatch(input, place, model)) return input
      changed = true
      return this.oneSample(input, place, model)
    })
    return changed ? this.b.emit(op, aligned, attributes) : undefined
  }

  /** Whether axis `place` of a value without N has the size of the model's batch axis. */
  private standsForBatch(value: Value, place: number, model: Value): boolean {
    const dim = model.shape.find(isBatch) as BatchDim
    return !value.shape.some(isBatch) && value.shape[place] === dim.factor * this.original
  }

  /**
   * A constant with a row per sample, all equal, → one that fits any N along axis `place`: a single row where the axis is N alone;
   * where it is split into windows or heads too, the rows of one sample repeated N times.
   */
  private oneSample(value: Value, place: number, model: Value): Value {
    const { b } = this
    const { factor } = model.shape.find(isBatch) as BatchDim
    if (factor === 1) return this.original === 1 ? value : b.slice(value, [0], [1], [place])
    const inner = this.innerOf(model)
    const around = (middle: Dim[]): Dim[] => [
      ...value.shape.slice(0, place),
      factor / inner,
      ...middle,
      ...value.shape.slice(place + 1),
    ]
    // Rows are [outer, N, inner] along the axis.
    const split = b.reshape(value, around([this.original, inner]))
    const row = this.original === 1 ? split : b.slice(split, [0], [1], [place + 1])
    const repeated = b.expand(row, around([batchDim(1), inner]))
    const result = b.reshape(repeated, [...value.shape.slice(0, place), { factor }, ...value.shape.slice(place + 1)])
    this.inner.set(result, inner)
    return result
  }

  /** A slice 0:B₀ of the batch axis takes all of it. */
  private slice(x: Value, inputs: readonly (Value | undefined)[]): Value | undefined {
    const [starts, ends, axes, steps] = inputs.slice(1, 5).map((input) => input?.known as readonly number[] | undefined)
    if (starts === undefined || ends === undefined) return undefined
    const place = x.shape.findIndex(isBatch)
    const at = (axes ?? starts.map((_, i) => i)).findIndex((axis) => (axis + x.shape.length) % x.shape.length === place)
    const whole =
      at >= 0 &&
      starts[at] === 0 &&
      (steps?.[at] ?? 1) === 1 &&
      ends[at] >= sizeAt(x.shape[place], this.original) &&
      ends[at] < 2 ** 31 - 1
    if (!whole) return undefined
    const open = this.b.ints(ends.map((end, i) => (i === at ? 2 ** 31 - 1 : end)))
    return this.b.emit('Slice', [x, inputs[1], open, inputs[3], inputs[4]])
  }

  /**
   * Indices into the flattened batch (how dynamo writes as_strided): row s of [B₀,…] reads sample s at the same places, so the first row
   * read from every sample is the same.
   */
  private gather(x: Value, indices: Value, attributes: Attributes): Value | undefined {
    const given = intAttribute(attributes, 'axis', 0)
    const axis = given < 0 ? given + x.shape.length : given
    const dim = x.shape[axis]
    const [samples, ...rest] = indices.shape as readonly number[]
    if (!isBatch(dim) || samples !== this.original || this.innerOf(x) !== dim.factor) return undefined
    const all = Array.from(indices.constant?.data as ArrayLike<number | bigint>, Number)
    const row = all.slice(0, product(rest))
    const sameEverywhere = all.every((at, i) => {
      const sample = Math.floor(i / row.length)
      return at === row[i % row.length] + sample * dim.factor && at < (sample + 1) * dim.factor
    })
    if (!sameEverywhere || all.some((at) => at < 0)) return undefined
    const { b } = this
    const perSample = b.reshape(x, [...x.shape.slice(0, axis), batchDim(1), dim.factor, ...x.shape.slice(axis + 1)])
    return b.emit('Gather', [perSample, b.reshape(b.ints(row), rest)], { axis: axis + 1 })
  }

  private innerOf(value: Value): number {
    return this.inner.get(value) ?? value.shape.find(isBatch)?.factor ?? 1
  }

  private sizes(shape: readonly Dim[]): number[] {
    return shape.map((dim) => sizeAt(dim, this.original))
  }
}

const product = (sizes: readonly number[]): number => sizes.reduce((a, b) => a * b, 1)
