import { type GraphBuilder, intAttribute, intsAttribute, type Node, type Value } from '../../graph/index.js'
import { folded, pointwise, reductionOps } from './functions.js'
import { integers } from './lowering.js'

/**
 * Pictures lie in memory as [N,H,W,C], as products leave them: what a convolution makes is turned to the model's [N,C,H,W] by a transpose,
 * and whoever can work on the one in front of it does, so that between convolutions nothing but pictures with their channels last is left.
 */
const TO_LAST = [0, 2, 3, 1]
const TO_FIRST = [0, 3, 1, 2]

/** Where an axis of [N,C,H,W] stands in [N,H,W,C]. */
const AXIS = [0, 3, 1, 2]

export const channelsFirst = (b: GraphBuilder, picture: Value): Value => b.transpose(picture, TO_FIRST)

/** [N,C,H,W] as [N,H,W,C]; of fewer axes: leading ones are added. */
export function channelsLast(b: GraphBuilder, value: Value): Value {
  if (turned(value)) return value.producer?.inputs[0] as Value
  const missing = 4 - value.shape.length
  return b.transpose(missing > 0 ? b.reshape(value, [...new Array(missing).fill(1), ...value.shape]) : value, TO_LAST)
}

function turned({ producer }: Value): boolean {
  if (producer?.op !== 'Transpose') return false
  const perm = intsAttribute(producer.attributes, 'perm')
  return perm?.length === 4 && perm.every((axis, i) => axis === TO_FIRST[i])
}

/** The first output of a node of the model whose operands lie with their channels last, or undefined where that is no matter to it. */
export function emitChannelsLast(
  b: GraphBuilder,
  node: Node,
  operands: readonly (Value | undefined)[],
): Value | undefined {
  const { op, attributes } = node
  const [x] = operands
  if (x === undefined || !operands.some((operand) => operand !== undefined && turned(operand))) return undefined
  if (Object.hasOwn(reductionOps, op)) return reduced(b, node, x, operands[1])
  if (node.outputs[0].shape.length !== 4) return undefined
  const all = (): Value[] => (operands as Value[]).map((operand) => channelsLast(b, operand))
  if (op === 'Concat') {
    const axis = AXIS[(intAttribute(attributes, 'axis', 0) + 4) % 4]
    return channelsFirst(b, b.emit(op, all(), { axis }))
  }
  if (Object.hasOwn(folded, op)) return channelsFirst(b, b.emit(op, all(), attributes))
  const simple = pointwise(node)
  if (simple === undefined) return undefined
  const own = operands.map((operand, i) => (operand && simple.inputs.includes(i) ? channelsLast(b, operand) : operand))
  return channelsFirst(b, b.emit(op, own, attributes))
}

function reduced(b: GraphBuilder, node: Node, x: Value, given: Value | undefined): Value | undefined {
  const listed = given === undefined ? intsAttribute(node.attributes, 'axes') : integers(given)
  if (listed === undefined || listed.length === 0) return undefined
  const axes = listed.map((axis) => AXIS[(axis + 4) % 4])
  const picture = channelsLast(b, x)
  const emit = (keepdims: number): Value => b.emit(node.op, [picture, b.ints(axes)], { ...node.attributes, keepdims })
  if (intAttribute(node.attributes, 'keepdims', 1) !== 0) return channelsFirst(b, emit(1))
  // Without height and width it does not show where the channels were.
  return axes.includes(1) && axes.includes(2) ? emit(0) : undefined
}
