import { sameShape } from '../dim.js'
import { eitherWay, scalarOf } from './match.js'
import type { Rule } from './rule.js'

/** max(x, 0) in other spellings → Relu. */
export const relu: Rule = ({ node, inputs, b }) => {
  if (inputs[0] === undefined) return undefined
  if (node.op === 'Clip') {
    const high = inputs[2] === undefined ? Number.POSITIVE_INFINITY : scalarOf(inputs[2])
    return scalarOf(inputs[1]) === 0 && high !== undefined && high > 3e38 ? [b.emit('Relu', [inputs[0]])] : undefined
  }
  if (node.op === 'LeakyRelu' && node.attributes.alpha === 0) return [b.emit('Relu', [inputs[0]])]
  if (node.op === 'Max' && inputs.length === 2)
    for (const [x, bound] of eitherWay(inputs))
      if (scalarOf(bound) === 0 && sameShape(x.shape, node.outputs[0].shape)) return [b.emit('Relu', [x])]
  return undefined
}
