import type { DType } from '../tensor/index.js'

/** The part of NumPy's .npy header (format 1.0 to 3.0) that says what follows. */
export interface NpyHeader {
  readonly dtype: DType
  readonly shape: readonly number[]
  /** Bytes before the data. */
  readonly bytes: number
}

const descriptors: Partial<Record<DType, string>> = {
  float32: '<f4',
  float64: '<f8',
  float16: '<f2',
  int8: '|i1',
  int16: '<i2',
  int32: '<i4',
  int64: '<i8',
  uint8: '|u1',
  uint16: '<u2',
  uint32: '<u4',
  uint64: '<u8',
  bool: '|b1',
}
const dtypes = new Map(Object.entries(descriptors).map(([dtype, descriptor]) => [descriptor, dtype as DType]))

/** Enough for the header of any array read here; NumPy pads it to a multiple of 64. */
export const largestNpyHeader = 4096

/** @throws Error saying what is not understood */
export function parseNpyHeader(head: Uint8Array): NpyHeader {
  const view = new DataView(head.buffer, head.byteOffset, head.byteLength)
  if (head.length < 12 || String.fromCharCode(...head.subarray(0, 6)) !== '\x93NUMPY') throw new Error('no .npy array')
  const wide = head[6] > 1
  const start = wide ? 12 : 10
  const length = wide ? view.getUint32(8, true) : view.getUint16(8, true)
  if (start + length > head.length) throw new Error('its header is too long or truncated')
  const text = new TextDecoder('latin1').decode(head.subarray(start, start + length))
  const descriptor = /'descr':\s*'([^']*)'/.exec(text)?.[1]
  const shape = /'shape':\s*\(([\d,\s]*)\)/.exec(text)?.[1]
  const order = /'fortran_order':\s*(True|False)/.exec(text)?.[1]
  if (shape === undefined || order === undefined) throw new Error(`a header that is not understood: ${text.trim()}`)
  const dtype = descriptor === undefined ? undefined : dtypes.get(descriptor)
  if (dtype === undefined) throw new Error(`elements of type ${descriptor ?? 'with fields'}`)
  const sizes = shape.split(',').flatMap((size) => (size.trim() === '' ? [] : [Number(size)]))
  if (order === 'True' && sizes.length > 1) throw new Error('column-major order (use np.ascontiguousarray)')
  return { dtype, shape: sizes, bytes: start + length }
}

export function npyHeader(dtype: DType, shape: readonly number[]): Uint8Array {
  const descriptor = descriptors[dtype]
  if (descriptor === undefined) throw new TypeError(`NumPy has no ${dtype}`)
  const sizes = shape.length === 1 ? `${shape[0]},` : shape.join(', ')
  const text = `{'descr': '${descriptor}', 'fortran_order': False, 'shape': (${sizes}), }`
  const padded = `${text.padEnd(Math.ceil((10 + text.length + 1) / 64) * 64 - 11)}\n`
  const header = Buffer.from(`\x93NUMPY\x01\x00\x00\x00${padded}`, 'latin1')
  header.writeUInt16LE(padded.length, 8)
  return header
}
