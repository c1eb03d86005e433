import type { DType, Tensor } from '../tensor/index.js'
import type { Dim } from './dim.js'

export type Attribute = number | string | readonly number[] | readonly string[] | Tensor
export type Attributes = Readonly<Record<string, Attribute>>

/** On a Round that quantises: its gradient is that of the identity. Attributes with a dot in their name stay out of files. */
export const STRAIGHT_THROUGH = 'signstep.straight_through'

/** One tensor of a graph: an input, a constant, or one output of a node. Identity is the object, the name is for people and files. */
export class Value {
  name: string
  readonly dtype: DType
  readonly shape: readonly Dim[]
  /** The node that makes it; undefined for inputs and constants. */
  producer: Node | undefined
  /** The content of a constant: an initialiser of the file or a folded result. */
  constant: Tensor | undefined
  /** All elements of a small value of shape arithmetic (a shape, an axis, a slice bound), N included; row-major. */
  known: readonly Dim[] | undefined
  /** True for an initialiser of the model file that holds floats: what training may change and `--parameters` may ask for. */
  parameter = false

  constructor(name: string, dtype: DType, shape: readonly Dim[]) {
    this.name = name
    this.dtype = dtype
    this.shape = shape
  }
}

/** One ONNX operator of the newest opset, in the standard's own domain. */
export class Node {
  readonly op: string
  readonly name: string
  /** undefined marks an optional input that is left out. */
  readonly inputs: (Value | undefined)[]
  readonly outputs: readonly Value[]
  readonly attributes: Attributes

  constructor(
    op: string,
    name: string,
    inputs: (Value | undefined)[],
    outputs: readonly Value[],
    attributes: Attributes,
  ) {
    this.op = op
    this.name = name
    this.inputs = inputs
    this.outputs = outputs
    this.attributes = attributes
    for (const output of outputs) output.producer = this
  }
}

/** A graph in single-assignment form; `nodes` is in topological order. Constants are reached through the nodes that use them. */
export class Graph {
  name: string
  inputs: Value[]
  outputs: Value[]
  nodes: Node[]

  constructor(name: string, inputs: Value[] = [], outputs: Value[] = [], nodes: Node[] = []) {
    this.name = name
    this.inputs = inputs
    this.outputs = outputs
    this.nodes = nodes
  }
}

export function intAttribute(attributes: Attributes, name: string, fallback: number): number {
  const value = attributes[name]
  return typeof value === 'number' ? value : fallback
}

export function intsAttribute(attributes: Attributes, name: string): readonly number[] | undefined {
  const value = attributes[name]
  return Array.isArray(value) ? (value as readonly number[]) : undefined
}
