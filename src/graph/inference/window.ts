import { ModelError } from '../../errors/index.js'
import { type Attributes, intAttribute, intsAttribute } from '../ir.js'

/** A window sliding over spatial axes, as Conv and the pools take it; sizes, strides and dilations per axis. */
export interface Window {
  readonly kernel: readonly number[]
  readonly strides: readonly number[]
  readonly dilations: readonly number[]
  /** Padding before and after each axis. */
  readonly begins: readonly number[]
  readonly ends: readonly number[]
  /** Positions of the window per axis. */
  readonly output: readonly number[]
}

/**
 * Resolves `pads` or `auto_pad` and counts the positions of the window over `input` (spatial sizes). With ceil_mode a last window
 * counts if it starts inside the input or the padding before it, as PyTorch and ONNX Runtime have it.
 */
export function slidingWindow(
  op: string,
  attributes: Attributes,
  input: readonly number[],
  kernel: readonly number[],
): Window {
  const rank = input.length
  const ones = input.map(() => 1)
  const strides = intsAttribute(attributes, 'strides') ?? ones
  const dilations = intsAttribute(attributes, 'dilations') ?? ones
  const extents = kernel.map((size, i) => (size - 1) * dilations[i] + 1)
  const auto = attributes.auto_pad ?? 'NOTSET'
  let begins: readonly number[] = input.map(() => 0)
  let ends: readonly number[] = begins
  if (auto === 'NOTSET') {
    const pads = intsAttribute(attributes, 'pads')
    if (pads !== undefined) [begins, ends] = [pads.slice(0, rank), pads.slice(rank)]
  } else if (auto === 'SAME_UPPER' || auto === 'SAME_LOWER') {
    const totals = input.map((size, i) =>
      Math.max(0, (Math.ceil(size / strides[i]) - 1) * strides[i] + extents[i] - size),
    )
    const smaller = totals.map((total) => Math.floor(total / 2))
    const larger = totals.map((total, i) => total - smaller[i])
    ;[begins, ends] = auto === 'SAME_UPPER' ? [smaller, larger] : [larger, smaller]
  } else if (auto !== 'VALID') {
    throw new ModelError('OPERATOR_UNSUPPORTED', 'unknown auto_pad', { subject: op, found: String(auto) })
  }
  const ceil = intAttribute(attributes, 'ceil_mode', 0) !== 0
  const output = input.map((size, i) => {
    const steps = (size + begins[i] + ends[i] - extents[i]) / strides[i]
    if (!ceil) return Math.floor(steps) + 1
    const positions = Math.ceil(steps) + 1
    return (positions - 1) * strides[i] >= size + begins[i] ? positions - 1 : positions
  })
  if (output.some((positions) => positions < 1))
    throw new ModelError('SHAPE_MISMATCH', 'the window is larger than its input', {
      subject: op,
      expected: `at least [${extents}] with padding`,
      found: `[${input}]`,
    })
  return { kernel, strides, dilations, begins, ends, output }
}
