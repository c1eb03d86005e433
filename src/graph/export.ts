import { type OnnxModel, type OnnxNode, type OnnxValueInfo, OPSET, onnxTypeOf } from '../onnx/index.js'
import type { DType, Tensor } from '../tensor/index.js'
import { isBatch, showDim } from './dim.js'
import type { Graph, Value } from './ir.js'
import { isTypeAttribute } from './type-attributes.js'

export interface ExportOptions {
  readonly name?: string
  readonly metadata?: Readonly<Record<string, string>>
}

/** The graph as an ONNX model of standard operators in the newest opset; the batch axis is the symbol N. Weights are shared, not copied. */
export function exportModel(
  graph: Graph,
  { name = graph.name || 'signstep', metadata = {} }: ExportOptions = {},
): OnnxModel {
  const names = new Names(graph)
  const read = new Set<Value>(graph.outputs)
  for (const node of graph.nodes) for (const input of node.inputs) if (input !== undefined) read.add(input)
  const initialisers = new Map<string, Tensor>()
  const constant = (value: Value): string => {
    if (value.constant !== undefined) initialisers.set(names.of(value), value.constant)
    return names.of(value)
  }
  const nodes: OnnxNode[] = graph.nodes.map((node) => ({
    name: names.ofNode(node.name),
    op: node.op,
    domain: '',
    inputs: node.inputs.map((input) => (input === undefined ? '' : constant(input))),
    // Optional outputs that nobody reads are left out, so that a runtime need not make them; in training mode BatchNormalization's
    // running statistics are not optional.
    outputs: trimmed(
      node.outputs.map((output, i) =>
        i === 0 || read.has(output) || node.attributes.training_mode === 1 ? names.of(output) : '',
      ),
    ),
    attributes: Object.fromEntries(
      Object.entries(node.attributes).flatMap(([key, value]) =>
        key.includes('.') ? [] : [[key, isTypeAttribute(node.op, key) ? onnxTypeOf(value as DType) : value]],
      ),
    ),
  }))
  // An output that is a constant or an input passes through a node of its own.
  const passed = new Map<Value, string>()
  for (const output of graph.outputs) {
    if (output.producer !== undefined || passed.has(output)) continue
    // An input keeps its name; a constant leaves its name to the output.
    const name = output.constant === undefined ? names.unused(`${output.name}_output`) : names.of(output)
    const inner = output.constant === undefined ? names.of(output) : names.unused(`${output.name}_constant`)
    if (output.constant !== undefined) initialisers.set(inner, output.constant)
    const identity = { op: 'Identity', domain: '', inputs: [inner], outputs: [name], attributes: {} }
    nodes.push({ name: names.ofNode(name), ...identity })
    passed.set(output, name)
  }
  return {
    graph: {
      name,
      inputs: graph.inputs.map((value) => info(value, names.of(value))),
      outputs: graph.outputs.map((value) => info(value, passed.get(value) ?? names.of(value))),
      initialisers,
      nodes,
    },
    producer: 'signstep',
    irVersion: 13,
    opset: OPSET,
    metadata,
  }
}

const info = (value: Value, name: string): OnnxValueInfo => ({
  name,
  dtype: value.dtype,
  shape: value.shape.map((dim) => (isBatch(dim) ? showDim(dim) : dim)),
})

function trimmed(outputs: string[]): string[] {
  while (outputs.length > 1 && outputs[outputs.length - 1] === '') outputs.pop()
  return outputs
}

/** One name a value: inputs and outputs keep theirs, others step aside where two are equal. */
class Names {
  private readonly taken = new Set<string>()
  private readonly nodes = new Set<string>()
  private readonly known = new Map<Value, string>()

  constructor(graph: Graph) {
    for (const value of [...graph.inputs, ...graph.outputs]) this.claim(value, value.name)
  }

  of(value: Value): string {
    return this.known.get(value) ?? this.claim(value, value.name)
  }

  /** A name no value has. */
  unused(name: string): string {
    return unique(name, this.taken)
  }

  ofNode(name: string): string {
    return unique(name, this.nodes)
  }

  private claim(value: Value, name: string): string {
    const known = this.known.get(value)
    if (known !== undefined) return known
    const free = unique(name, this.taken)
    this.known.set(value, free)
    return free
  }
}

function unique(name: string, taken: Set<string>): string {
  let free = name
  for (let i = 2; taken.has(free); i++) free = `${name}_${i}`
  taken.add(free)
  return free
}
