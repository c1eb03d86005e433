import type { GraphBuilder } from './builder.js'
import { batchDim, type Dim, isBatch, sizeAt } from './dim.js'
import type { Value } from './ir.js'

/**
 * Makes the fixed batch of an export free. The exporter wrote its batch size B₀ as a number into reshape targets and expanded constants;
 * knowing where N lies in a tensor tells which of these numbers stand for it. The result is compared with the original when the
 * model is loaded, so a wrong guess is an error, never a wrong number.
 */
export class Rebatcher {
  readonly original: number
  /** How many elements of the batch axis lie inside N, for values in which N is not the outermost part of it. */
  private readonly inner = new Map<Value, number>()

  constructor(original: number) {
    this.original = original
  }

  /** The shape a reshape to `target` (numbers at the original batch, none −1 or 0) stands for when N is free. */
  reshape(b: GraphBuilder, x: Value, target: readonly number[]): Value {
    const axis = x.shape.findIndex(isBatch)
    if (axis < 0) return b.reshape(x, target)
    const at = (shape: readonly Dim[]): number[] => shape.map((dim) => sizeAt(dim, this.original))
    const stride = product(at(x.shape.slice(axis + 1))) * this.innerOf(x)
    const strides = target.map((_, i) => product(target.slice(i + 1)))
    let place = target.findIndex((size, i) => strides[i] === stride && size === this.original)
    if (place < 0) place = strides.findIndex((s) => s <= stride)
    const factor = target[place] / this.original
    if (!Number.isInteger(factor)) return b.reshape(x, target)
    const result = b.reshape(
      x,
      target.map((size, i) => (i === place ? batchDim(factor) : size)),
    )
    this.inner.set(result, stride / strides[place])
    return result
  }

  /** Constants written once per sample of the original batch become one row, repeated: [B₀,…] beside [N,…] in a Concat. */
  concat(b: GraphBuilder, inputs: readonly Value[], axis: number): Value[] {
    const model = inputs.find((input) => input.shape.some(isBatch))
    if (model === undefined) return [...inputs]
    const place = model.shape.findIndex(isBatch)
    if (place === axis) return [...inputs]
    const factor = (model.shape[place] as { factor: number }).factor
    return inputs.map((input) => {
      const size = input.shape[place]
      if (isBatch(size) || (size !== 1 && size !== factor * this.original)) return input
      const row = size === factor ? input : b.slice(input, [0], [factor], [place])
      return b.expand(
        row,
        input.shape.map((dim, i) => (i === place ? model.shape[place] : dim)),
      )
    })
  }

  /** Hands the position of N down from an operator's input to its outputs. */
  follow(inputs: readonly (Value | undefined)[], outputs: readonly Value[]): void {
    for (const output of outputs) {
      const dim = output.shape.find(isBatch)
      if (dim === undefined || this.inner.has(output)) continue
      const source = inputs.find(
        (input) => input !== undefined && this.inner.has(input) && input.shape.find(isBatch)?.factor === dim.factor,
      )
      if (source !== undefined) this.inner.set(output, this.innerOf(source))
    }
  }

  private innerOf(value: Value): number {
    return this.inner.get(value) ?? value.shape.find(isBatch)?.factor ?? 1
  }
}

const product = (sizes: readonly number[]): number => sizes.reduce((a, b) => a * b, 1)
