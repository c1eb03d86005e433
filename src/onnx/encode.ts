import type { Tensor } from '../tensor/index.js'
import { onnxTypeOf } from './element-types.js'
import { isFloatAttribute } from './float-attributes.js'
import { joinPieces, type Pieces, writeMessage } from './message-writer.js'
import { type Attribute, type OnnxGraph, type OnnxModel, type OnnxNode, type OnnxValueInfo, OPSET } from './model.js'
import {
  type AttributeProto,
  attributeTypes,
  type GraphProto,
  type ModelProto,
  modelSchema,
  type NodeProto,
  type TensorProto,
  type ValueInfoProto,
} from './schema.js'
import { protoOf } from './tensors.js'

/** The version of the format that came with opset 26 (onnx.helper.OP_SET_ID_VERSION_MAP). */
const IR_VERSION = 13

/** How a tensor is written: with its data, or with the place of its data in another file. */
export type TensorEncoder = (tensor: Tensor, name?: string) => TensorProto

/** The bytes of an ONNX file with all weights inside. A protobuf holds at most 2 GB: `writeModel` writes larger models. */
export function encodeModel(model: OnnxModel): Uint8Array {
  return joinPieces(encodePieces(model))
}

/** The same as pieces, the weights uncopied. */
export function encodePieces(model: OnnxModel, encodeTensor: TensorEncoder = protoOf): Pieces {
  const domains = new Set<string>()
  const graph = graphProto(model.graph, encodeTensor, domains)
  domains.delete('')
  const proto: ModelProto = {
    irVersion: IR_VERSION,
    producerName: model.producer,
    graph,
    opsetImport: [{ domain: '', version: OPSET }, ...[...domains].map((domain) => ({ domain, version: 1 }))],
    metadataProps: Object.entries(model.metadata).map(([key, value]) => ({ key, value })),
    functions: [],
  }
  return writeMessage(modelSchema, proto)
}

function graphProto(graph: OnnxGraph, encodeTensor: TensorEncoder, domains: Set<string>): GraphProto {
  return {
    name: graph.name || 'graph',
    node: graph.nodes.map((node) => nodeProto(node, encodeTensor, domains)),
    initializer: [...graph.initialisers].map(([name, tensor]) => encodeTensor(tensor, name)),
    sparseInitializer: [],
    input: graph.inputs.map(valueInfoProto),
    output: graph.outputs.map(valueInfoProto),
    valueInfo: [],
  }
}

function nodeProto(node: OnnxNode, encodeTensor: TensorEncoder, domains: Set<string>): NodeProto {
  domains.add(node.domain)
  return {
    name: node.name,
    opType: node.op,
    domain: node.domain || undefined,
    input: [...node.inputs],
    output: [...node.outputs],
    attribute: Object.entries(node.attributes).map(([name, value]) => ({
      name,
      floats: [],
      ints: [],
      strings: [],
      ...attributeValue(node.op, name, value, encodeTensor, domains),
    })),
  }
}

function attributeValue(
  op: string,
  name: string,
  value: Attribute,
  encodeTensor: TensorEncoder,
  domains: Set<string>,
): Partial<AttributeProto> {
  const isFloat = (number: number): boolean => isFloatAttribute(op, name) || !Number.isInteger(number)
  if (typeof value === 'number')
    return isFloat(value) ? { type: attributeTypes.f, f: value } : { type: attributeTypes.i, i: value }
  if (typeof value === 'string') return { type: attributeTypes.s, s: utf8(value) }
  if (isList(value)) {
    if (value.some((element) => typeof element === 'string'))
      return { type: attributeTypes.strings, strings: value.map((element) => utf8(String(element))) }
    const numbers = value.map(Number)
    if (isFloatAttribute(op, name) || numbers.some(isFloat)) return { type: attributeTypes.floats, floats: numbers }
    return { type: attributeTypes.ints, ints: numbers }
  }
  if ('dtype' in value) return { type: attributeTypes.t, t: encodeTensor(value) }
  return { type: attributeTypes.g, g: graphProto(value, encodeTensor, domains) }
}

function isList(value: Attribute): value is readonly number[] | readonly string[] {
  return Array.isArray(value)
}

function valueInfoProto({ name, dtype, shape }: OnnxValueInfo): ValueInfoProto {
  if (dtype === undefined) return { name }
  const dim = shape?.map((size) => (typeof size === 'number' ? { dimValue: size } : { dimParam: size || undefined }))
  return { name, type: { tensorType: { elemType: onnxTypeOf(dtype), shape: dim && { dim } } } }
}

const encoder = new TextEncoder()
const utf8 = (text: string): Uint8Array => encoder.encode(text)
