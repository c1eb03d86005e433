/**
 * The part of onnx.proto (https://github.com/onnx/onnx/blob/main/onnx/onnx.proto) that signstep reads and writes, as a table
 * of fields and the plain objects they decode to. Fields that are not listed (documentation, stack traces, training
 * information) are skipped unread: in dynamo exports they are up to two fifths of the file.
 *
 * A singular field that the file leaves out is undefined; a repeated one is an empty array.
 */

export type Kind =
  | 'int' // any varint, as a number: int64 beyond 2^53 is rounded
  | 'bigint' // int64 and uint64 payloads, exact
  | 'float'
  | 'string'
  | 'bytes' // a view on the file
  | 'floatBytes' // repeated float as its little-endian bytes, a view on the file where it is packed
  | 'doubleBytes'
  | Schema

export interface Field {
  readonly id: number
  readonly name: string
  readonly kind: Kind
  readonly repeated: boolean
}

export class Schema {
  readonly fields = new Map<number, Field>()
  constructor(readonly name: string) {}

  /** `fields` maps a name to its number and kind; a kind in an array is repeated. */
  define(fields: Record<string, readonly [id: number, kind: Kind | readonly [Kind]]>): this {
    for (const [name, [id, kind]] of Object.entries(fields)) {
      const repeated = Array.isArray(kind)
      this.fields.set(id, { id, name, kind: repeated ? kind[0] : (kind as Kind), repeated })
    }
    return this
  }
}

export interface EntryProto {
  key?: string
  value?: string
}

export interface TensorProto {
  dims: number[]
  dataType?: number
  name?: string
  floatData?: Uint8Array
  int32Data: number[]
  int64Data: bigint[]
  doubleData?: Uint8Array
  uint64Data: bigint[]
  rawData?: Uint8Array
  externalData: EntryProto[]
  /** 1 where the data lie in another file. */
  dataLocation?: number
}

export interface DimensionProto {
  dimValue?: number
  dimParam?: string
}

export interface ValueInfoProto {
  name?: string
  type?: { tensorType?: { elemType?: number; shape?: { dim: DimensionProto[] } } }
}

export interface AttributeProto {
  name?: string
  /** In the body of a function: the function's attribute that stands here. */
  refAttrName?: string
  type?: number
  f?: number
  i?: number
  s?: Uint8Array
  t?: TensorProto
  g?: GraphProto
  floats: number[]
  ints: number[]
  strings: Uint8Array[]
}

export interface NodeProto {
  input: string[]
  output: string[]
  name?: string
  opType?: string
  domain?: string
  overload?: string
  attribute: AttributeProto[]
}

export interface GraphProto {
  node: NodeProto[]
  name?: string
  initializer: TensorProto[]
  sparseInitializer: { values?: TensorProto }[]
  input: ValueInfoProto[]
  output: ValueInfoProto[]
  valueInfo: ValueInfoProto[]
}

export interface OperatorSetProto {
  domain?: string
  version?: number
}

export interface FunctionProto {
  name?: string
  domain?: string
  overload?: string
  input: string[]
  output: string[]
  attributeProto: AttributeProto[]
  node: NodeProto[]
  opsetImport: OperatorSetProto[]
}

export interface ModelProto {
  irVersion?: number
  opsetImport: OperatorSetProto[]
  producerName?: string
  producerVersion?: string
  graph?: GraphProto
  metadataProps: EntryProto[]
  functions: FunctionProto[]
}

const entry = new Schema('StringStringEntryProto').define({ key: [1, 'string'], value: [2, 'string'] })

export const tensorSchema = new Schema('TensorProto').define({
  dims: [1, ['int']],
  dataType: [2, 'int'],
  floatData: [4, 'floatBytes'],
  int32Data: [5, ['int']],
  int64Data: [7, ['bigint']],
  name: [8, 'string'],
  rawData: [9, 'bytes'],
  doubleData: [10, 'doubleBytes'],
  uint64Data: [11, ['bigint']],
  externalData: [13, [entry]],
  dataLocation: [14, 'int'],
})

const dimension = new Schema('TensorShapeProto.Dimension').define({ dimValue: [1, 'int'], dimParam: [2, 'string'] })
const shape = new Schema('TensorShapeProto').define({ dim: [1, [dimension]] })
const tensorType = new Schema('TypeProto.Tensor').define({ elemType: [1, 'int'], shape: [2, shape] })
const type = new Schema('TypeProto').define({ tensorType: [1, tensorType] })
const valueInfo = new Schema('ValueInfoProto').define({ name: [1, 'string'], type: [2, type] })

const graph = new Schema('GraphProto')
const attribute = new Schema('AttributeProto').define({
  name: [1, 'string'],
  f: [2, 'float'],
  i: [3, 'int'],
  s: [4, 'bytes'],
  t: [5, tensorSchema],
  g: [6, graph],
  floats: [7, ['float']],
  ints: [8, ['int']],
  strings: [9, ['bytes']],
  type: [20, 'int'],
  refAttrName: [21, 'string'],
})
const node = new Schema('NodeProto').define({
  input: [1, ['string']],
  output: [2, ['string']],
  name: [3, 'string'],
  opType: [4, 'string'],
  attribute: [5, [attribute]],
  domain: [7, 'string'],
  overload: [8, 'string'],
})
const sparseTensor = new Schema('SparseTensorProto').define({ values: [1, tensorSchema] })
graph.define({
  node: [1, [node]],
  name: [2, 'string'],
  initializer: [5, [tensorSchema]],
  input: [11, [valueInfo]],
  output: [12, [valueInfo]],
  valueInfo: [13, [valueInfo]],
  sparseInitializer: [15, [sparseTensor]],
})

const operatorSet = new Schema('OperatorSetIdProto').define({ domain: [1, 'string'], version: [2, 'int'] })
const modelFunction = new Schema('FunctionProto').define({
  name: [1, 'string'],
  input: [4, ['string']],
  output: [5, ['string']],
  node: [7, [node]],
  opsetImport: [9, [operatorSet]],
  domain: [10, 'string'],
  attributeProto: [11, [attribute]],
  overload: [13, 'string'],
})

export const modelSchema = new Schema('ModelProto').define({
  irVersion: [1, 'int'],
  producerName: [2, 'string'],
  producerVersion: [3, 'string'],
  graph: [7, graph],
  opsetImport: [8, [operatorSet]],
  metadataProps: [14, [entry]],
  functions: [25, [modelFunction]],
})

/** AttributeProto.AttributeType, as far as signstep takes it. */
export const attributeTypes = { f: 1, i: 2, s: 3, t: 4, g: 5, floats: 6, ints: 7, strings: 8 } as const
