import { type Dim, isBatch, multiplyDims, sameDim, sameShape } from '../dim.js'
import { intsAttribute, type Node } from '../ir.js'
import { madeBy } from './match.js'
import type { Rule } from './rule.js'

export function permutation(node: Node): readonly number[] {
  const rank = node.inputs[0]?.shape.length ?? 0
  return intsAttribute(node.attributes, 'perm') ?? Array.from({ length: rank }, (_, i) => rank - 1 - i)
}

/** Squeeze, Unsqueeze, Flatten and a reshape of a reshape → one Reshape. */
export const reshapes: Rule = ({ node, inputs, b }) => {
  const x = inputs[0]
  if (x === undefined || !['Squeeze', 'Unsqueeze', 'Flatten', 'Reshape'].includes(node.op)) return undefined
  const { shape } = node.outputs[0]
  const settled = inputs[1]?.constant !== undefined || shape.filter(isBatch).length > 1
  if (node.op === 'Reshape' && settled && madeBy(x, 'Reshape') === undefined) return undefined
  return [b.reshape(x, shape)]
}

/** Transpose of a transpose → one; a transpose that moves axes of size 1 only → Reshape. */
export const transposes: Rule = ({ node, inputs, b }) => {
  const x = inputs[0]
  if (node.op !== 'Transpose' || x === undefined) return undefined
  const perm = permutation(node)
  const inner = madeBy(x, 'Transpose')
  if (inner?.inputs[0] !== undefined) {
    const first = permutation(inner)
    return [
      b.transpose(
        inner.inputs[0],
        perm.map((axis) => first[axis]),
      ),
    ]
  }
  const moving = perm.filter((axis) => x.shape[axis] !== 1)
  return moving.every((axis, i) => i === 0 || axis > moving[i - 1]) ? [b.reshape(x, node.outputs[0].shape)] : undefined
}

/** Reshape that joins axes, Transpose, Reshape that takes them apart again → one Transpose (PyTorch's dynamo exporter, of Kᵀ). */
export const transposeOfJoinedAxes: Rule = ({ node, inputs, b }) => {
  if (node.op !== 'Reshape') return undefined
  const transpose = madeBy(inputs[0], 'Transpose')
  const joined = madeBy(transpose?.inputs[0], 'Reshape')
  const source = joined?.inputs[0]
  if (transpose === undefined || joined === undefined || source === undefined) return undefined
  const groups = joinedAxes(source.shape, joined.outputs[0].shape)
  if (groups === undefined) return undefined
  const perm = permutation(transpose).flatMap((axis) => groups[axis])
  const shape = perm.map((axis) => source.shape[axis])
  if (!sameShape(withoutOnes(shape), withoutOnes(node.outputs[0].shape))) return undefined
  return [b.reshape(b.transpose(source, perm), node.outputs[0].shape)]
}

/** For each axis of `to`, the axes of `from` that make it up; undefined where an axis is split. */
function joinedAxes(from: readonly Dim[], to: readonly Dim[]): number[][] | undefined {
  const groups: number[][] = []
  let axis = 0
  for (const target of to) {
    const group: number[] = []
    let size: Dim | undefined = 1
    while (size !== undefined && !sameDim(size, target) && axis < from.length) {
      size = multiplyDims(size, from[axis])
      group.push(axis++)
    }
    if (size === undefined || !sameDim(size, target)) return undefined
    groups.push(group)
  }
  // Axes of size 1 at the end belong to the last group.
  for (; axis < from.length; axis++) {
    if (from[axis] !== 1 || groups.length === 0) return undefined
    groups[groups.length - 1].push(axis)
  }
  return groups
}

const withoutOnes = (shape: readonly Dim[]): readonly Dim[] => shape.filter((dim) => isBatch(dim) || dim !== 1)
