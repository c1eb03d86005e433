import { ModelError } from '../errors/index.js'
import { type DType, newTypedArray, type Tensor, type TypedArray } from '../tensor/index.js'
import { bytesOf, dtypeOf, onnxTypeName, onnxTypeOf } from './element-types.js'
import type { TensorProto } from './schema.js'

/** What a tensor claims to be, checked to be something that can exist. */
export interface TensorHeader {
  readonly dtype: DType
  readonly shape: readonly number[]
  readonly count: number
}

/** @throws ModelError MODEL_UNSUPPORTED for strings, complex and sub-byte types, MODEL_INVALID for impossible dimensions. */
export function tensorHeader(proto: TensorProto, subject: string): TensorHeader {
  const dtype = dtypeOf(proto.dataType ?? 0)
  if (dtype === undefined) {
    throw new ModelError('MODEL_UNSUPPORTED', 'a tensor of a type signstep does not compute with', {
      subject,
      expected: 'float, integer of 8 bits or more, or bool',
      found: onnxTypeName(proto.dataType ?? 0),
      cure: 'Export the model without quantisation, in float32.',
    })
  }
  let count = 1
  for (const dim of proto.dims) {
    count *= dim
    if (dim < 0 || !Number.isSafeInteger(count)) throw invalid(subject, 'dimensions >= 0', `[${proto.dims}]`)
  }
  return { dtype, shape: proto.dims, count }
}

/**
 * A tensor over the bytes of its message: a view where `aligned` can give one.
 * @param subject how errors name the tensor, with its file.
 * @param movable whether the bytes around the payload belong to the reader, so that it may be shifted to an aligned place.
 */
export function tensorOf(proto: TensorProto, subject: string, movable: boolean): Tensor {
  const { dtype, shape, count } = tensorHeader(proto, subject)
  const bytes = payload(proto, dtype)
  if (bytes !== undefined) {
    const expected = count * bytesOf(dtype)
    if (bytes.length !== expected) throw invalid(subject, `${expected} bytes for [${shape}]`, `${bytes.length}`)
    return { dtype, shape, data: viewOf(dtype, aligned(bytes, bytesOf(dtype), movable)) }
  }
  const elements = dtype === 'int64' ? proto.int64Data : isUnsigned(dtype) ? proto.uint64Data : proto.int32Data
  if (elements.length !== count) throw invalid(subject, `${count} elements for [${shape}]`, `${elements.length}`)
  const data = newTypedArray(dtype, count)
  // Typed arrays take the element modulo 2^bits, which undoes the sign extension of 8- and 16-bit types.
  if (data instanceof BigInt64Array || data instanceof BigUint64Array) data.set(elements as bigint[])
  else for (let i = 0; i < count; i++) data[i] = Number(elements[i])
  return { dtype, shape, data }
}

/** The inverse: always as raw_data, which every reader takes. */
export function protoOf(tensor: Tensor, name?: string): TensorProto {
  const { data, dtype, shape } = tensor
  return {
    name,
    dataType: onnxTypeOf(dtype),
    dims: [...shape],
    rawData: new Uint8Array(data.buffer, data.byteOffset, data.byteLength),
    int32Data: [],
    int64Data: [],
    uint64Data: [],
    externalData: [],
  }
}

const isUnsigned = (dtype: DType): boolean => dtype === 'uint32' || dtype === 'uint64'

function payload(proto: TensorProto, dtype: DType): Uint8Array | undefined {
  if (proto.rawData !== undefined) return proto.rawData
  if (dtype === 'float32') return proto.floatData ?? new Uint8Array()
  if (dtype === 'float64') return proto.doubleData ?? new Uint8Array()
  return undefined
}

function viewOf(dtype: DType, bytes: Uint8Array): TypedArray {
  const array = newTypedArray(dtype, 0).constructor as new (
    buffer: ArrayBufferLike,
    offset: number,
    length: number,
  ) => TypedArray
  return new array(bytes.buffer, bytes.byteOffset, bytes.byteLength / bytesOf(dtype))
}

/**
 * The same bytes at an address that is a multiple of `size`. Protobuf aligns nothing, so three of four float tensors lie
 * askew; copying them would nearly double the memory of a model. Where the buffer is ours, a payload is shifted down by
 * up to size - 1 bytes instead, over its own tag and length, which have been read. Only short ones do not fit and are copied.
 */
function aligned(bytes: Uint8Array, size: number, movable: boolean): Uint8Array {
  const shift = bytes.byteOffset % size
  if (shift === 0) return bytes
  if (!movable || shift > headerLength(bytes.length)) return bytes.slice()
  const place = new Uint8Array(bytes.buffer, bytes.byteOffset - shift, bytes.length)
  place.set(bytes)
  return place
}

/** Bytes of the tag (every payload field of TensorProto is below 16, so one) and of the length before a payload. */
function headerLength(length: number): number {
  let bytes = 2
  for (let rest = length; rest >= 0x80; rest = Math.floor(rest / 0x80)) bytes++
  return bytes
}

function invalid(subject: string, expected: string, found: string): ModelError {
  return new ModelError('MODEL_INVALID', 'the tensor does not hold what it claims', {
    subject,
    expected,
    found,
    cure: 'Export or download the model again.',
  })
}
