import { ModelError, nearest, OptionError } from '../../errors/index.js'
import { isFloat } from '../../tensor/index.js'
import { isBatch, showShape } from '../dim.js'
import { intAttribute, type Value } from '../ir.js'

interface Named {
  readonly name: string
  readonly value: Value
}

/** The logits of a file: [N,classes], or that with further axes of size 1. */
export interface Logits extends Named {
  /** Whether `name` holds their softmax. */
  readonly probabilities: boolean
}

/**
 * The output `wanted` (or any value of that name), else the one named logits, else the first that is a batch of numbers for classes. A
 * softmax behind them is taken off: gradients vanish where it is sure.
 */
export function chooseLogits(
  outputs: readonly Named[],
  find: (name: string) => Value | undefined,
  { wanted, notes, file }: { wanted: string | undefined; notes: string[]; file: string },
): Logits {
  const candidates = outputs.filter(({ value }) => isLogits(value))
  const chosen =
    wanted === undefined
      ? (candidates.find(({ name }) => /logit/i.test(name)) ?? candidates[0])
      : named(wanted, outputs, find)
  if (chosen === undefined)
    throw new ModelError('MODEL_UNSUPPORTED', 'no output is a batch of logits', {
      subject: file,
      expected: 'floats [N,classes]',
      found: outputs.map(({ name, value }) => `${name} ${showShape(value.shape)}`).join(', '),
    })
  if (outputs.length > 1 && wanted === undefined)
    notes.push(`of ${outputs.length} outputs, ${chosen.name} was taken for the logits; --logits names another`)
  const inner = withoutSoftmax(chosen.value)
  if (inner === undefined) return { ...chosen, probabilities: false }
  notes.push(`${chosen.name} holds probabilities: the softmax was taken off, the logits are its input`)
  return { name: chosen.name, value: inner, probabilities: true }
}

function named(wanted: string, outputs: readonly Named[], find: (name: string) => Value | undefined): Named {
  const value = outputs.find(({ name }) => name === wanted)?.value ?? find(wanted)
  if (value !== undefined && isLogits(value)) return { name: wanted, value }
  const names = outputs.map(({ name }) => name)
  const near = nearest(wanted, names)
  throw new OptionError('OPTION_INVALID', 'names no logits', {
    subject: '--logits',
    expected: `an output [N,classes]: ${names.join(', ')}`,
    found: value === undefined ? wanted : `${wanted} ${showShape(value.shape)}`,
    ...(near === undefined || value !== undefined ? {} : { cure: `Did you mean ${near}?` }),
  })
}

const isLogits = ({ dtype, shape }: Value): boolean =>
  isFloat(dtype) &&
  isBatch(shape[0] ?? 0) &&
  typeof shape[1] === 'number' &&
  shape[1] > 1 &&
  shape.slice(2).every((dim) => dim === 1)

const rearranging = new Set(['Reshape', 'Flatten', 'Squeeze', 'Unsqueeze'])

/** The input of a softmax over the classes, looked for behind changes of shape that leave [N,classes] as it is. */
function withoutSoftmax(value: Value): Value | undefined {
  for (let at = value; at.producer !== undefined && isLogits(at); ) {
    const { op, inputs, attributes } = at.producer
    const [x] = inputs
    if (x === undefined) return undefined
    if (op === 'Softmax') {
      const axis = intAttribute(attributes, 'axis', -1)
      return axis === 1 || (axis === -1 && x.shape.length === 2) ? x : undefined
    }
    if (!rearranging.has(op)) return undefined
    at = x
  }
  return undefined
}
