import { ModelError } from '../../../errors/index.js'
import { intAttribute, type Value } from '../../ir.js'
import { type ComposedNode, fixed, required } from '../composition.js'

/** One step of a recurrent cell: input rows x·Wᵀ (bias inside), the state before → the state after. */
type Cell = (x: Value, state: readonly Value[]) => readonly Value[]

interface Direction {
  readonly w: Value
  readonly r: Value
  readonly bias: readonly [Value, Value] | undefined
  readonly peephole: Value | undefined
}

type MakeCell = (node: ComposedNode, direction: Direction, activations: readonly Activation[], hidden: number) => Cell
type Activation = (x: Value) => Value

/** RNN, unrolled over its sequence. */
export const elman = (node: ComposedNode): readonly Value[] => recurrent(node, 1, ['Tanh'], 1, elmanCell)
export const gru = (node: ComposedNode): readonly Value[] => recurrent(node, 3, ['Sigmoid', 'Tanh'], 1, gruCell)
export const lstm = (node: ComposedNode): readonly Value[] =>
  recurrent(node, 4, ['Sigmoid', 'Tanh', 'Tanh'], 2, lstmCell)

/**
 * X [length,N,inputs] (layout 1: [N,length,inputs]), W [directions, gates·hidden, inputs], R [directions, gates·hidden, hidden], B
 * [directions, 2·gates·hidden] → Y [length,directions,N,hidden] and the last states.
 */
function recurrent(
  node: ComposedNode,
  gates: number,
  defaults: readonly string[],
  states: number,
  makeCell: MakeCell,
): readonly Value[] {
  const { b, attributes } = node
  if (node.inputs[4] !== undefined) throw refused('sequences of different lengths', 'no input sequence_lens')
  if (attributes.clip !== undefined) throw refused('clipped cells', 'no attribute clip')
  const batchFirst = intAttribute(attributes, 'layout', 0) === 1
  const given = required(node, 0)
  const x = batchFirst ? b.transpose(given, [1, 0, 2]) : given
  const [length] = fixed(x, [0], 'the length of the sequence')
  const n = x.shape[1]
  const [directions, , hidden] = fixed(required(node, 2), [0, 1, 2], 'the weights')
  const direction = String(attributes.direction ?? 'forward')
  const names = (attributes.activations as readonly string[] | undefined) ?? []

  const outputs: Value[][] = Array.from({ length }, () => [])
  const last: Value[][] = Array.from({ length: states }, () => [])
  for (let d = 0; d < directions; d++) {
    const own = (i: number): Value | undefined => {
      const value = node.inputs[i]
      return value && b.reshape(b.slice(value, [d], [d + 1], [0]), value.shape.slice(1))
    }
    const [w, r, both] = [own(1) as Value, own(2) as Value, own(3)]
    const half = gates * hidden
    const bias = both && ([b.slice(both, [0], [half], [0]), b.slice(both, [half], [2 * half], [0])] as const)
    const activations = defaults.map((usual, i) => activation(node, names[d * defaults.length + i] ?? usual))
    const cell = makeCell(node, { w, r, bias, peephole: own(7) }, activations, hidden)
    let state: readonly Value[] = Array.from({ length: states }, (_, i) => {
      const initial = node.inputs[5 + i]
      if (initial === undefined) return b.full([n, hidden], 0)
      const part = b.slice(initial, [d], [d + 1], [batchFirst ? 1 : 0])
      return b.reshape(part, [n, hidden])
    })
    const backwards = direction === 'reverse' || d === 1
    for (let i = 0; i < length; i++) {
      const t = backwards ? length - 1 - i : i
      state = cell(b.reshape(b.slice(x, [t], [t + 1], [0]), [n, x.shape[2]]), state)
      outputs[t].push(state[0])
    }
    for (const [i, value] of state.entries()) last[i].push(value)
  }
  const stack = (values: readonly Value[], axis: number) =>
    b.concat(
      values.map((value) => b.unsqueeze(value, [axis])),
      axis,
    )
  const steps = outputs.map((values) => stack(values, 0)) // [directions, N, hidden] each
  const y = stack(steps, 0)
  const turned = batchFirst ? b.transpose(y, [2, 0, 1, 3]) : y
  return [turned, ...last.map((values) => stack(values, batchFirst ? 1 : 0))]
}

const elmanCell: MakeCell = ({ b }, { w, r, bias }, [f]) => {
  const project = affine(b, w, bias?.[0])
  const recur = affine(b, r, bias?.[1])
  return (x, [h]) => [f(b.add(project(x), recur(h)))]
}

/** Gates z, r, h. With `linear_before_reset` the reset gate acts on the product instead of the state. */
const gruCell: MakeCell = ({ b, attributes }, { w, r, bias }, [f, g], hidden) => {
  const gate = (value: Value | undefined, from: number, to: number): Value | undefined =>
    value && b.slice(value, [from * hidden], [to * hidden], [0])
  const project = affine(b, w, bias?.[0])
  const [recurZR, recurH] = [
    affine(b, gate(r, 0, 2) as Value, gate(bias?.[1], 0, 2)),
    affine(b, gate(r, 2, 3) as Value, gate(bias?.[1], 2, 3)),
  ]
  const resetAfter = intAttribute(attributes, 'linear_before_reset', 0) !== 0
  return (x, [h]) => {
    const [xz, xr, xh] = b.emitAll('Split', [project(x)], { axis: 1, num_outputs: 3 }, 3)
    const [hz, hr] = b.emitAll('Split', [recurZR(h)], { axis: 1, num_outputs: 2 }, 2)
    const [z, reset] = [f(b.add(xz, hz)), f(b.add(xr, hr))]
    const candidate = g(b.add(xh, resetAfter ? b.mul(reset, recurH(h)) : recurH(b.mul(reset, h))))
    return [b.add(candidate, b.mul(z, b.sub(h, candidate)))]
  }
}

/** Gates i, o, f, c; peepholes i, o, f. */
const lstmCell: MakeCell = ({ b, attributes }, { w, r, bias, peephole }, [f, g, h], hidden) => {
  if (intAttribute(attributes, 'input_forget', 0) !== 0) throw refused('coupled gates', 'input_forget 0')
  const project = affine(b, w, bias?.[0])
  const recur = affine(b, r, bias?.[1])
  const peep = (value: Value, gate: number, cell: Value): Value =>
    peephole === undefined
      ? value
      : b.add(value, b.mul(b.slice(peephole, [gate * hidden], [(gate + 1) * hidden], [0]), cell))
  return (x, [state, cell]) => {
    const sum = b.add(project(x), recur(state))
    const [i, o, forget, c] = b.emitAll('Split', [sum], { axis: 1, num_outputs: 4 }, 4)
    const next = b.add(b.mul(f(peep(forget, 2, cell)), cell), b.mul(f(peep(i, 0, cell)), g(c)))
    return [b.mul(f(peep(o, 1, next)), h(next)), next]
  }
}

/** x·wᵀ + bias. */
function affine(b: ComposedNode['b'], w: Value, bias: Value | undefined): (x: Value) => Value {
  const weights = b.transpose(w, [1, 0])
  return (x) => (bias === undefined ? b.matMul(x, weights) : b.add(b.matMul(x, weights), bias))
}

function activation(node: ComposedNode, name: string): Activation {
  const plain = ['Relu', 'Tanh', 'Sigmoid', 'Softsign', 'Softplus']
  if (plain.includes(name)) return (x) => node.b.emit(name, [x])
  if (node.attributes.activation_alpha !== undefined || !['Elu', 'LeakyRelu'].includes(name))
    throw refused(`the activation ${name}`, [...plain, 'Elu', 'LeakyRelu'].join(', '))
  return (x) => node.b.emit(name, [x])
}

const refused = (what: string, expected: string): ModelError =>
  new ModelError('OPERATOR_UNSUPPORTED', `a recurrent layer with ${what} is not read`, { expected })
