import { addDims, type Dim, divideDims, isBatch, multiplyDims, sameDim } from '../../graph/index.js'
import type { PlanBuffer } from './program.js'

/** Elements at equal distances. */
export interface Run {
  readonly size: Dim
  readonly stride: Dim
}

/**
 * A tensor as it lies in a buffer: each axis is a product of runs, outermost first, so that any reshape, transpose, split or broadcast of
 * the model is a view and costs nothing (torchvision's [L, N·heads, D] has an axis of two runs). Kernels take strides where they can, and a
 * copy is made where they cannot.
 */
export interface View {
  readonly buffer: PlanBuffer
  /** In elements, like the strides. */
  readonly offset: Dim
  readonly axes: readonly (readonly Run[])[]
}

/** Sizes that grow with the square of the batch do not occur in models whose samples are independent. */
export function times(a: Dim, b: Dim): Dim {
  const product = multiplyDims(a, b)
  if (product === undefined) throw new Error('a size that depends on the square of the batch')
  return product
}

export const multipliable = (a: Dim, b: Dim): boolean => multiplyDims(a, b) !== undefined

export const elementsOf = (shape: readonly Dim[]): Dim => shape.reduce<Dim>(times, 1)

export const shapeOf = ({ axes }: View): Dim[] => axes.map((runs) => elementsOf(runs.map(({ size }) => size)))

export function viewOf(buffer: PlanBuffer, shape: readonly Dim[]): View {
  const axes: Run[][] = new Array(shape.length)
  let stride: Dim = 1
  for (let i = shape.length - 1; i >= 0; i--) {
    axes[i] = shape[i] === 1 ? [] : [{ size: shape[i], stride }]
    stride = times(stride, shape[i])
  }
  return { buffer, offset: 0, axes }
}

/** Joins neighbours that lie one inside the other. */
export function merged(runs: readonly Run[]): Run[] {
  const out: Run[] = []
  for (const run of runs) {
    const last = out.at(-1)
    const inside = multiplyDims(run.size, run.stride)
    const size = last && multiplyDims(last.size, run.size)
    if (last !== undefined && size !== undefined && inside !== undefined && sameDim(last.stride, inside))
      out[out.length - 1] = { size, stride: run.stride }
    else out.push(run)
  }
  return out
}

/** The one run of an axis; undefined where it takes several. An axis of size 1 has any stride. */
export function strideOf(view: View, axis: number): Dim | undefined {
  const runs = merged(view.axes[axis])
  if (runs.length === 0) return 0
  return runs.length === 1 ? runs[0].stride : undefined
}

/** Row-major without gaps. */
export function isDense({ axes }: View): boolean {
  const runs = merged(axes.flat())
  return runs.length === 0 || (runs.length === 1 && runs[0].stride === 1)
}

/** Dense, and the whole of its buffer. */
export function isWhole(view: View): boolean {
  return view.offset === 0 && isDense(view) && sameDim(elementsOf(shapeOf(view)), view.buffer.elements)
}

/** Orders runs from the outermost in memory to the innermost: batch-sized strides before fixed ones, large before small. */
export function inMemoryOrder<R extends Run>(runs: readonly R[]): R[] {
  const weight = ({ stride }: Run): readonly [number, number] => (isBatch(stride) ? [1, stride.factor] : [0, stride])
  return [...runs].sort((a, b) => weight(b)[0] - weight(a)[0] || weight(b)[1] - weight(a)[1])
}

/** Every element of the buffer once, in whatever order. */
export function coversBuffer(view: View): boolean {
  const runs = merged(inMemoryOrder(view.axes.flat()))
  const dense = runs.length === 0 || (runs.length === 1 && runs[0].stride === 1)
  return dense && view.offset === 0 && sameDim(elementsOf(shapeOf(view)), view.buffer.elements)
}

export function transposed(view: View, perm: readonly number[]): View {
  return { ...view, axes: perm.map((axis) => view.axes[axis]) }
}

/** Repeats axes of size 1, and adds leading ones, up to `shape`. */
export function broadcast(view: View, shape: readonly Dim[]): View {
  const lead = shape.length - view.axes.length
  const axes = shape.map((dim, i): readonly Run[] => {
    const own = i < lead ? [] : view.axes[i - lead]
    if (dim === 1) return []
    return own.length === 0 ? [{ size: dim, stride: 0 }] : own
  })
  return { ...view, axes }
}

/** `size` elements from `start` on along an axis; undefined where that is no view. */
export function sliced(view: View, axis: number, start: number, size: number, step = 1): View | undefined {
  const stride = strideOf(view, axis)
  if (stride === undefined || step < 1) return undefined
  const offset = addDims(view.offset, times(start, stride))
  if (offset === undefined) return undefined
  const run = size === 1 ? [] : [{ size, stride: times(step, stride) }]
  return { ...view, offset, axes: view.axes.map((own, i) => (i === axis ? run : own)) }
}

/** The same elements in another shape; undefined where a new axis would cut through a run unevenly. */
export function reshaped(view: View, shape: readonly Dim[]): View | undefined {
  const runs = merged(view.axes.flat())
  const axes: Run[][] = new Array(shape.length)
  for (let i = shape.length - 1; i >= 0; i--) {
    axes[i] = []
    let left = shape[i]
    while (left !== 1) {
      const run = runs.pop()
      if (run === undefined) return undefined
      const rest = divideDims(left, run.size)
      if (rest !== undefined) {
        axes[i].unshift(run)
        left = rest
        continue
      }
      const outer = divideDims(run.size, left)
      const stride = multiplyDims(run.stride, left)
      if (outer === undefined || stride === undefined) return undefined
      axes[i].unshift({ size: left, stride: run.stride })
      runs.push({ size: outer, stride })
      left = 1
    }
  }
  return runs.length === 0 ? { ...view, axes } : undefined
}

/** The concatenation of parts that already lie side by side, or undefined. */
export function joined(parts: readonly View[], axis: number): View | undefined {
  const [first, second] = parts
  if (second === undefined || parts.some(({ buffer }) => buffer !== first.buffer || buffer.constant !== undefined))
    return undefined
  const distance = subtract(second.offset, first.offset)
  const sizes = parts.map((part) => shapeOf(part)[axis])
  const stride = sizes[0] === 1 ? distance : strideOf(first, axis)
  if (distance === undefined || stride === undefined) return undefined
  let at = first.offset
  let size: Dim = 0
  for (const [i, part] of parts.entries()) {
    const alike = part.axes.every((runs, k) => k === axis || sameRuns(runs, first.axes[k]))
    const own = strideOf(part, axis)
    if (!alike || !sameDim(part.offset, at) || own === undefined || (sizes[i] !== 1 && !sameDim(own, stride)))
      return undefined
    const next: Dim | undefined = addDims(at, times(sizes[i], stride))
    const sum: Dim | undefined = addDims(size, sizes[i])
    if (next === undefined || sum === undefined) return undefined
    at = next
    size = sum
  }
  return { ...first, axes: first.axes.map((runs, i) => (i === axis ? [{ size, stride }] : runs)) }
}

export function sameRuns(a: readonly Run[], b: readonly Run[]): boolean {
  const [x, y] = [merged(a), merged(b)]
  return x.length === y.length && x.every((run, i) => sameDim(run.size, y[i].size) && sameDim(run.stride, y[i].stride))
}

function subtract(a: Dim, b: Dim): Dim | undefined {
  if (b === 0) return a
  if (isBatch(a) !== isBatch(b)) return undefined
  const difference = isBatch(a) ? a.factor - (b as { factor: number }).factor : a - (b as number)
  if (difference <= 0) return undefined
  return isBatch(a) ? { factor: difference } : difference
}

/** One loop over several operands of the same shape: its size and the stride of each. */
export interface Loop {
  readonly size: Dim
  readonly strides: readonly Dim[]
}

/** The fewest loops that run over all operands at once, in the operands' own order. */
export function loopsOver(views: readonly View[]): Loop[] {
  const loops: Loop[] = []
  for (const axis of views[0].axes.keys()) {
    // Innermost first: each loop is as long as the shortest run that is left.
    const stacks = views.map((view) => [...view.axes[axis]])
    const own: Loop[] = []
    while (stacks.some((stack) => stack.length > 0)) {
      const tops = stacks.map((stack) => stack.at(-1))
      if (tops.some((top) => top === undefined)) throw new Error('operands of different shapes')
      const size = (tops as Run[])
        .map((top) => top.size)
        .find((candidate) => (tops as Run[]).every((top) => divideDims(top.size, candidate) !== undefined))
      if (size === undefined) throw new Error('operands whose axes are split differently')
      own.unshift({ size, strides: (tops as Run[]).map(({ stride }) => stride) })
      for (const [i, top] of (tops as Run[]).entries()) {
        stacks[i].pop()
        const rest = divideDims(top.size, size) as Dim
        if (rest !== 1) stacks[i].push({ size: rest, stride: times(top.stride, size) })
      }
    }
    loops.push(...own)
  }
  return joinLoops(loops)
}

export function joinLoops(loops: readonly Loop[]): Loop[] {
  const out: Loop[] = []
  for (const loop of loops) {
    const last = out.at(-1)
    const inside = last?.strides.every((stride, i) => {
      const own = multiplyDims(loop.size, loop.strides[i])
      return own !== undefined && sameDim(stride, own)
    })
    const size = last && multiplyDims(last.size, loop.size)
    if (inside && size !== undefined) out[out.length - 1] = { size, strides: loop.strides }
    else out.push(loop)
  }
  return out
}

/** The rows of a matrix: row r of the product is row r / group · stride + offset + r % group of the buffer. group 0: row r. */
export interface RowMap {
  readonly group: number
  readonly stride: number
  readonly offset: number
}

/** How a kernel that takes a row map finds the rows [.., columns] of a view in logical order, or undefined where it cannot. */
export function rowMapOf(view: View): RowMap | undefined {
  const columns = shapeOf(view).at(-1)
  const { offset } = view
  if (typeof columns !== 'number' || typeof offset !== 'number' || offset % columns !== 0) return undefined
  if (columns !== 1 && strideOf(view, view.axes.length - 1) !== 1) return undefined
  const runs = merged(view.axes.slice(0, -1).flat())
  if (runs.some(({ stride }) => typeof stride !== 'number' || stride === 0 || stride % columns !== 0)) return undefined
  const start = offset / columns
  const steps = runs.map(({ stride }) => (stride as number) / columns)
  if (runs.length === 0) return { group: 1, stride: 1, offset: start }
  if (runs.length === 1)
    return steps[0] === 1 && start === 0
      ? { group: 0, stride: 0, offset: 0 }
      : { group: 1, stride: steps[0], offset: start }
  const [, inner] = runs
  if (runs.length > 2 || steps[1] !== 1 || typeof inner.size !== 'number') return undefined
  return { group: inner.size, stride: steps[0], offset: start }
}
