import { joinPieces, writeMessage } from '#signstep/onnx/message-writer.js'
import {
  type AttributeProto,
  type FunctionProto,
  type GraphProto,
  modelSchema,
  type NodeProto,
  type TensorProto,
  type ValueInfoProto,
} from '#signstep/onnx/schema.js'

/** Builders of ONNX files of any opset, for cases our own writer never makes. */

export function tensorProto(name: string, fields: Partial<TensorProto>): TensorProto {
  return { name, dims: [], int32Data: [], int64Data: [], uint64Data: [], externalData: [], ...fields }
}

export function floatTensor(name: string, dims: number[], values: number[]): TensorProto {
  return tensorProto(name, { dataType: 1, dims, rawData: new Uint8Array(Float32Array.from(values).buffer) })
}

export function attributeProto(name: string, fields: Partial<AttributeProto>): AttributeProto {
  return { name, floats: [], ints: [], strings: [], ...fields }
}

export function nodeProto(
  opType: string,
  input: string[],
  output: string[],
  attribute: AttributeProto[] = [],
  rest: Partial<NodeProto> = {},
): NodeProto {
  return { opType, input, output, attribute, name: `${opType}_${output[0]}`, ...rest }
}

export function valueProto(name: string, elemType = 1, dims: (number | string)[] = [2]): ValueInfoProto {
  const dim = dims.map((size) => (typeof size === 'number' ? { dimValue: size } : { dimParam: size }))
  return { name, type: { tensorType: { elemType, shape: { dim } } } }
}

export function graphProto(fields: Partial<GraphProto>): GraphProto {
  return {
    name: 'g',
    node: [],
    initializer: [],
    sparseInitializer: [],
    input: [valueProto('x')],
    output: [valueProto('y')],
    valueInfo: [],
    ...fields,
  }
}

export interface ModelFields {
  readonly opset?: number
  readonly functions?: FunctionProto[]
  readonly irVersion?: number
}

export function modelBytes(graph: Partial<GraphProto> | undefined, fields: ModelFields = {}): Uint8Array {
  const { opset = 17, functions = [], irVersion = 8 } = fields
  const proto = {
    irVersion,
    producerName: 'test',
    producerVersion: '1',
    opsetImport: [{ domain: '', version: opset }],
    metadataProps: [{ key: 'made by', value: 'hand' }],
    graph: graph && graphProto(graph),
    functions,
  }
  return joinPieces(writeMessage(modelSchema, proto))
}
