import type { DType } from '../tensor/index.js'

/** TensorProto.DataType by number; the names in onnx.proto's order. */
const onnxNames = [
  'undefined',
  'float32',
  'uint8',
  'int8',
  'uint16',
  'int16',
  'int32',
  'int64',
  'string',
  'bool',
  'float16',
  'float64',
  'uint32',
  'uint64',
  'complex64',
  'complex128',
  'bfloat16',
  'float8e4m3fn',
  'float8e4m3fnuz',
  'float8e5m2',
  'float8e5m2fnuz',
  'uint4',
  'int4',
  'float4e2m1',
  'float8e8m0',
  'uint2',
  'int2',
] as const

const sizes: Record<DType, 1 | 2 | 4 | 8> = {
  float32: 4,
  float64: 8,
  float16: 2,
  bfloat16: 2,
  int8: 1,
  int16: 2,
  int32: 4,
  int64: 8,
  uint8: 1,
  uint16: 2,
  uint32: 4,
  uint64: 8,
  bool: 1,
}

export const bytesOf = (dtype: DType): 1 | 2 | 4 | 8 => sizes[dtype]

/** The element type of a TensorProto.DataType number (also the `to` of Cast); undefined where signstep has none. */
export function dtypeOf(onnxType: number): DType | undefined {
  const name = onnxNames[onnxType]
  return name !== undefined && name in sizes ? (name as DType) : undefined
}

/** TensorProto.DataType's number. */
export const onnxTypeOf = (dtype: DType): number => onnxNames.indexOf(dtype)

/** How an error names a TensorProto.DataType. */
export const onnxTypeName = (onnxType: number): string => onnxNames[onnxType] ?? `element type ${onnxType}`
