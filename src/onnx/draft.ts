import { ModelError } from '../errors/index.js'
import type { Tensor } from '../tensor/index.js'
import { dtypeOf, onnxTypeName } from './element-types.js'
import type { Attribute, OnnxGraph, OnnxValueInfo } from './model.js'
import { type AttributeProto, attributeTypes, type GraphProto, type NodeProto, type ValueInfoProto } from './schema.js'
import { tensorOf } from './tensors.js'

/** Where a model comes from: how errors name it, and whether its bytes may be shifted in place. */
export interface Source {
  readonly name: string
  readonly movable: boolean
}

export type DraftAttribute = Exclude<Attribute, OnnxGraph> | DraftGraph

/** A node on its way from the file's opset to ours. */
export interface DraftNode {
  readonly name: string
  readonly op: string
  readonly domain: string
  readonly overload: string
  readonly inputs: readonly string[]
  readonly outputs: readonly string[]
  readonly attributes: Readonly<Record<string, DraftAttribute>>
  /** In the body of a function: attribute name → the function's attribute whose value it takes. */
  readonly references: Readonly<Record<string, string>>
  /** The version of the standard domain it is written in. */
  readonly opset: number
}

export class DraftGraph {
  inputs: OnnxValueInfo[] = []
  outputs: OnnxValueInfo[] = []
  /** Ranks the file states, by value. */
  readonly ranks = new Map<string, number>()
  readonly initialisers = new Map<string, Tensor>()
  nodes: DraftNode[] = []
  constructor(readonly name: string) {}

  /** This graph and all graphs inside its nodes. */
  *nested(): Generator<DraftGraph> {
    yield this
    for (const node of this.nodes)
      for (const value of Object.values(node.attributes)) if (value instanceof DraftGraph) yield* value.nested()
  }

  finish(): OnnxGraph {
    const { name, inputs, outputs, initialisers } = this
    const nodes = this.nodes.map(({ name, op, domain, inputs, outputs, attributes }) => ({
      name,
      op,
      domain,
      inputs,
      outputs,
      attributes: mapValues(attributes, (value) => (value instanceof DraftGraph ? value.finish() : value)),
    }))
    return { name, inputs, outputs, initialisers, nodes }
  }
}

export function mapValues<A, B>(record: Readonly<Record<string, A>>, map: (value: A) => B): Record<string, B> {
  return Object.fromEntries(Object.entries(record).map(([key, value]) => [key, map(value)]))
}

/** The standard's own domain has two names. */
export const domainOf = (domain: string | undefined): string => (domain === 'ai.onnx' ? '' : (domain ?? ''))

export function draftGraph(proto: GraphProto, opset: number, source: Source): DraftGraph {
  const graph = new DraftGraph(proto.name ?? '')
  for (const tensor of proto.initializer) {
    const name = tensor.name ?? ''
    graph.initialisers.set(name, tensorOf(tensor, `${source.name}, initializer '${name}'`, source.movable))
  }
  if (proto.sparseInitializer.length > 0) {
    const name = proto.sparseInitializer[0].values?.name ?? ''
    throw new ModelError('MODEL_UNSUPPORTED', 'sparse initializers are not supported', {
      subject: `${source.name}, initializer '${name}'`,
      cure: 'Store the weights densely.',
    })
  }
  for (const info of proto.valueInfo) {
    const rank = info.type?.tensorType?.shape?.dim.length
    if (rank !== undefined) graph.ranks.set(info.name ?? '', rank)
  }
  // Files of IR version 3 and older list every initialiser as an input too; newer ones may.
  graph.inputs = proto.input.filter((info) => !graph.initialisers.has(info.name ?? '')).map((i) => valueInfo(i, source))
  graph.outputs = proto.output.map((info) => valueInfo(info, source))
  for (const { name, shape } of [...graph.inputs, ...graph.outputs]) if (shape) graph.ranks.set(name, shape.length)
  graph.nodes = proto.node.map((node) => draftNode(node, opset, source))
  return graph
}

export function draftNode(proto: NodeProto, opset: number, source: Source): DraftNode {
  const op = proto.opType ?? ''
  const name = proto.name || proto.output[0] || op
  const attributes: Record<string, DraftAttribute> = {}
  const references: Record<string, string> = {}
  for (const attribute of proto.attribute) {
    if (attribute.refAttrName) references[attribute.name ?? ''] = attribute.refAttrName
    else attributes[attribute.name ?? ''] = draftAttribute(attribute, opset, source, `node '${name}' (${op})`)
  }
  return {
    name,
    op,
    domain: domainOf(proto.domain),
    overload: proto.overload ?? '',
    inputs: proto.input,
    outputs: proto.output,
    attributes,
    references,
    opset,
  }
}

/** Writers of proto3 leave out a value that is zero, so a missing value is zero, not an error. */
export function draftAttribute(proto: AttributeProto, opset: number, source: Source, owner: string): DraftAttribute {
  const subject = `${source.name}, ${owner}, attribute '${proto.name}'`
  switch (proto.type || inferType(proto)) {
    case attributeTypes.f:
      return proto.f ?? 0
    case attributeTypes.i:
      return proto.i ?? 0
    case attributeTypes.s:
      return text(proto.s ?? new Uint8Array())
    case attributeTypes.floats:
      return proto.floats
    case attributeTypes.ints:
      return proto.ints
    case attributeTypes.strings:
      return proto.strings.map(text)
    case attributeTypes.t:
      if (proto.t) return tensorOf(proto.t, subject, source.movable)
      throw new ModelError('MODEL_INVALID', 'the attribute has no tensor', { subject })
    case attributeTypes.g:
      if (proto.g) return draftGraph(proto.g, opset, source)
      throw new ModelError('MODEL_INVALID', 'the attribute has no graph', { subject })
    default:
      throw new ModelError('MODEL_UNSUPPORTED', 'an attribute of a type signstep does not read', {
        subject,
        expected: 'a number, a string, a list of them, a tensor or a graph',
        found: `attribute type ${proto.type ?? 'unknown'}`,
      })
  }
}

/** The first files of the format (IR version 1) do not state the type. */
function inferType(proto: AttributeProto): number | undefined {
  for (const [field, type] of Object.entries(attributeTypes)) {
    const value = proto[field as keyof typeof attributeTypes]
    if (Array.isArray(value) ? value.length > 0 : value !== undefined) return type
  }
  return undefined
}

const decoder = new TextDecoder()
const text = (bytes: Uint8Array): string => decoder.decode(bytes)

function valueInfo(proto: ValueInfoProto, source: Source): OnnxValueInfo {
  const name = proto.name ?? ''
  if (proto.type === undefined) return { name, dtype: undefined, shape: undefined }
  const elemType = proto.type.tensorType?.elemType ?? 0
  const dtype = dtypeOf(elemType)
  if (dtype === undefined) {
    throw new ModelError('MODEL_UNSUPPORTED', 'a value of a type signstep does not compute with', {
      subject: `${source.name}, value '${name}'`,
      expected: 'a tensor of floats, integers or bools',
      found: proto.type.tensorType === undefined ? 'no tensor' : onnxTypeName(elemType),
    })
  }
  const shape = proto.type.tensorType?.shape?.dim.map(({ dimValue, dimParam }) =>
    dimValue !== undefined && dimValue > 0 ? dimValue : (dimParam ?? ''),
  )
  return { name, dtype, shape }
}
