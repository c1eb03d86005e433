import type { DraftGraph, DraftNode } from './draft.js'

const elementwise = new Set(
  'Add,Sub,Mul,Div,Pow,Where,Max,Min,Sum,Relu,LeakyRelu,Sigmoid,Tanh,Erf,Exp,Log,Sqrt,Neg,Abs,Clip,Elu,Identity,Dropout,Cast,BatchNormalization'.split(
    ',',
  ),
)
const FURTHEST = 64

/**
 * The rank of a value where the file states it or a look at its producers tells; undefined elsewhere. No shape inference
 * (that comes later, in the newest opset): only what lets an old Softmax over the last axis be written as a plain one.
 */
export class Ranks {
  private readonly producers = new Map<string, DraftNode>()
  private readonly known: Map<string, number | undefined>

  constructor(private readonly graph: DraftGraph) {
    this.known = new Map(graph.ranks)
    for (const [name, { shape }] of graph.initialisers) this.known.set(name, shape.length)
    for (const node of graph.nodes) for (const output of node.outputs) this.producers.set(output, node)
  }

  rankOf(name: string, distance = 0): number | undefined {
    if (distance > FURTHEST) return undefined
    if (!this.known.has(name)) {
      this.known.set(name, undefined)
      const node = this.producers.get(name)
      this.known.set(name, node && this.rankOfOutput(node, distance + 1))
    }
    return this.known.get(name)
  }

  private rankOfOutput(node: DraftNode, distance: number): number | undefined {
    const { op, inputs, attributes } = node
    if (node.domain !== '') return undefined
    if (op === 'Gemm' || op === 'Flatten') return 2
    if (op === 'Transpose' && Array.isArray(attributes.perm)) return attributes.perm.length
    if (op === 'Reshape') return this.lengthOf(inputs[1], distance)
    const ranks = inputs.filter((input) => input !== '').map((input) => this.rankOf(input, distance))
    if (op === 'MatMul') return ranks.every((rank) => rank !== undefined && rank >= 2) ? highest(ranks) : undefined
    if (op === 'Conv' || op === 'Softmax' || op === 'BatchNormalization') return ranks[0]
    return elementwise.has(op) ? highest(ranks) : undefined
  }

  /** The number of elements of a shape vector. */
  private lengthOf(name: string, distance: number): number | undefined {
    const constant = this.graph.initialisers.get(name)
    if (constant !== undefined) return constant.shape.length === 1 ? constant.shape[0] : undefined
    const node = this.producers.get(name)
    if (node === undefined || distance > FURTHEST) return undefined
    if (node.op === 'Unsqueeze') return 1 // a vector made of a scalar
    if (node.op === 'Cast' || node.op === 'Identity') return this.lengthOf(node.inputs[0], distance + 1)
    if (node.op === 'Concat') {
      const lengths = node.inputs.map((input) => this.lengthOf(input, distance + 1))
      return lengths.reduce((sum, length) => (sum === undefined || length === undefined ? undefined : sum + length), 0)
    }
    return undefined
  }
}

function highest(ranks: readonly (number | undefined)[]): number | undefined {
  let most = 0
  for (const rank of ranks) {
    if (rank === undefined) return undefined
    most = Math.max(most, rank)
  }
  return most
}
