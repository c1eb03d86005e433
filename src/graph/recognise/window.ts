import { numbersIn } from '../canonicalise/match.js'
import { type Dim, isBatch } from '../dim.js'
import { intAttribute, type Node, type Value } from '../ir.js'
import type { Properties } from './block.js'
import type { Dataflow } from './dataflow.js'

/** Window size, number of windows and shift, where layout nodes cut the tokens into windows; undefined where they do not. */
export function windowProperties(
  flow: Dataflow,
  scores: readonly Dim[],
  layout: readonly Node[],
): Properties | undefined {
  const tokens = scores.at(-1)
  for (const node of layout) {
    if (node.op !== 'Reshape') continue
    // [N, H/w, w, W/w, w, C] and its transposed kin, written in one or two reshapes.
    const { shape } = node.outputs[0]
    if (shape.length !== 6 || !isBatch(shape[0])) continue
    const [rows, height, columns, width] = shape.slice(1, 5)
    if (typeof rows !== 'number' || typeof height !== 'number' || typeof columns !== 'number') continue
    if (typeof width !== 'number' || height * width !== tokens) continue
    const shift = rollShift(flow, layout)
    return { window: [height, width], windows: rows * columns, ...(shift === undefined ? {} : { shift }) }
  }
  return undefined
}

/** How far the image is rolled before it is cut, per axis: a concatenation of two pieces of one tensor in the other order. */
function rollShift(flow: Dataflow, layout: readonly Node[]): readonly number[] | undefined {
  const shifts = new Map<number, number>()
  for (const node of [...layout].sort((a, b) => flow.orderOf(a) - flow.orderOf(b))) {
    if (node.op !== 'Concat' || node.inputs.length !== 2) continue
    const rank = node.outputs[0].shape.length
    const axis = intAttribute(node.attributes, 'axis', 0)
    const at = axis < 0 ? axis + rank : axis
    const start = startOf(node.inputs[0], node.inputs[1])
    // The first roll of an axis shifts, the second one shifts back.
    if (start !== undefined && !shifts.has(at)) shifts.set(at, start)
  }
  if (shifts.size === 0) return undefined
  return [...shifts.entries()].sort(([a], [b]) => a - b).map(([, shift]) => shift)
}

/** Where `first` starts in the tensor that it and `second` are the end and the beginning of. */
function startOf(first: Value | undefined, second: Value | undefined): number | undefined {
  const [a, b] = [first?.producer, second?.producer]
  if (a === undefined || b === undefined) return undefined
  if (a === b && a.op === 'Split') {
    const sizes = numbersIn(a.inputs[1])
    return a.outputs[0] === second ? sizes?.[0] : undefined
  }
  if (a.op !== 'Slice' || b.op !== 'Slice' || a.inputs[0] !== b.inputs[0]) return undefined
  const start = numbersIn(a.inputs[1])?.[0]
  return start === undefined ? undefined : Math.abs(start)
}
