import { ModelError } from '../../errors/index.js'
import { type DType, int64Tensor, isFloat, type Tensor, tensorFromNumbers } from '../../tensor/index.js'
import type { DraftAttribute, DraftGraph, DraftNode } from '../draft.js'
import { dtypeOf } from '../element-types.js'
import type { Names } from '../names.js'
import { Ranks } from '../ranks.js'

/** What a step may ask of the graph around its node. */
export class Context {
  private readonly constants = new Map<string, string>()
  private readonly ranks: Ranks

  /** @param floatTypes the float types that occur in the model (`floatTypesOf`). */
  constructor(
    private readonly graph: DraftGraph,
    private readonly names: Names,
    private readonly floatTypes: ReadonlySet<DType>,
    private readonly source: string,
  ) {
    this.ranks = new Ranks(graph)
  }

  fresh(hint: string): string {
    return this.names.fresh(hint)
  }

  rankOf(value: string): number | undefined {
    return this.ranks.rankOf(value)
  }

  /** The number of elements of an initialiser; undefined for other values. */
  lengthOf(value: string): number | undefined {
    return this.graph.initialisers.get(value)?.data.length
  }

  /** The name of an int64 vector. */
  ints(values: readonly number[], hint: string): string {
    return this.constant(int64Tensor(values), hint)
  }

  scalar(dtype: DType, value: number, hint: string): string {
    return this.constant(tensorFromNumbers(dtype, [], [value]), hint)
  }

  /**
   * A float scalar of the type of `like`: a constant where the model has one float type only, a CastLike of one elsewhere.
   * Attributes of the old standard were float32 whatever the tensors were.
   */
  floatLike(value: number, like: string, hint: string): { name: string; nodes: Plain[] } {
    if (this.floatTypes.size <= 1) {
      const [dtype = 'float32'] = this.floatTypes
      return { name: this.scalar(dtype, value, hint), nodes: [] }
    }
    const name = this.fresh(hint)
    const constant = this.scalar('float32', value, hint)
    return { name, nodes: [{ op: 'CastLike', inputs: [constant, like], outputs: [name] }] }
  }

  /** An integer attribute; one that is missing without a fallback, or no integer, makes the model invalid. */
  integer(node: DraftNode, name: string, fallback?: number): number {
    const value = node.attributes[name] ?? fallback
    if (typeof value === 'number' && Number.isInteger(value)) return value
    throw this.invalid(node, name, 'an integer', value)
  }

  /** A list of integers; undefined where the attribute is missing. */
  integers(node: DraftNode, name: string): readonly number[] | undefined {
    const value = node.attributes[name]
    if (value === undefined) return undefined
    if (Array.isArray(value) && value.every((element) => Number.isInteger(element))) return value
    throw this.invalid(node, name, 'integers', value)
  }

  private invalid(node: DraftNode, name: string, expected: string, found: DraftAttribute | undefined): ModelError {
    return new ModelError('MODEL_INVALID', `the attribute '${name}' is not what the operator takes`, {
      subject: `${this.source}, node '${node.name}' (${node.op})`,
      expected,
      found: found === undefined ? 'none' : typeof found === 'object' ? 'something else' : `${found}`,
    })
  }

  refuse(node: DraftNode, what: string, cure: string): ModelError {
    return new ModelError('MODEL_UNSUPPORTED', what, {
      subject: `${this.source}, node '${node.name}' (${node.op}, opset ${node.opset})`,
      cure,
    })
  }

  /** The name of a constant; equal ones of one hint are stored once a graph. */
  constant(tensor: Tensor, hint: string): string {
    const key = JSON.stringify([tensor.dtype, tensor.shape, Array.from(tensor.data, String), hint])
    let name = this.constants.get(key)
    if (name === undefined) {
      name = this.fresh(hint)
      this.graph.initialisers.set(name, tensor)
      this.constants.set(key, name)
    }
    return name
  }
}

export interface Plain {
  readonly op: string
  readonly inputs: readonly string[]
  readonly outputs: readonly string[]
  readonly attributes?: Readonly<Record<string, DraftAttribute>>
}

/** The nodes that take the place of `node`; the last keeps its name, the others have that of their result. */
export function replace(node: DraftNode, replacements: readonly Plain[]): DraftNode[] {
  return replacements.map((plain, index) => ({
    ...node,
    attributes: {},
    ...plain,
    name: index === replacements.length - 1 ? node.name : plain.outputs[0],
  }))
}

export function without(
  attributes: Readonly<Record<string, DraftAttribute>>,
  ...names: readonly string[]
): Record<string, DraftAttribute> {
  return Object.fromEntries(Object.entries(attributes).filter(([name]) => !names.includes(name)))
}

/** Every float type of an input, an initialiser or a Cast, inner graphs included. */
export function floatTypesOf(graph: DraftGraph): Set<DType> {
  const types = new Set<DType>()
  for (const { inputs, initialisers, nodes } of graph.nested()) {
    for (const { dtype = 'float32' } of inputs) types.add(dtype)
    for (const { dtype } of initialisers.values()) types.add(dtype)
    for (const { op, attributes } of nodes)
      if (op === 'Cast' && typeof attributes.to === 'number') types.add(dtypeOf(attributes.to) ?? 'float32')
  }
  return new Set([...types].filter(isFloat))
}
