import { BinaryReader, WireType } from '@bufbuild/protobuf/wire'
import { ModelError } from '../errors/index.js'
import { type Field, type Kind, Schema } from './schema.js'

/** Real models nest If and Loop a few deep; a file that nests further is an attack on the stack. */
const DEEPEST = 100

type Message = Record<string, unknown>

const packedSizes = { float: 4, floatBytes: 4, doubleBytes: 8 } as const
const fixedSize = (kind: Kind): 4 | 8 | undefined => packedSizes[kind as keyof typeof packedSizes]

/**
 * Decodes a protobuf message by its schema. Nothing is allocated by a length that the bytes do not hold, bytes are views.
 * @throws ModelError MODEL_INVALID with the byte offset, for anything that is not such a message.
 */
export function readMessage<T>(schema: Schema, bytes: Uint8Array, subject: string): T {
  const reader = new BinaryReader(bytes)
  try {
    return new MessageReader(reader).message(schema, bytes.length, 0) as T
  } catch (cause) {
    // BinaryReader throws Error and RangeError, TextDecoder a TypeError; a failed read leaves `pos` just after its start.
    throw new ModelError('MODEL_INVALID', `the file is damaged at byte ${Math.min(reader.pos, bytes.length)}`, {
      subject,
      expected: 'an ONNX model',
      found: cause instanceof Error ? cause.message : String(cause),
      cure: 'Export or download the model again.',
      cause,
    })
  }
}

class MessageReader {
  constructor(private readonly reader: BinaryReader) {}

  message(schema: Schema, end: number, depth: number): Message {
    if (depth > DEEPEST) throw new RangeError(`messages nested deeper than ${DEEPEST}`)
    const out: Message = {}
    for (const field of schema.fields.values()) if (field.repeated) out[field.name] = []
    const { reader } = this
    while (reader.pos < end) {
      const [id, wire] = reader.tag()
      const field = schema.fields.get(id)
      if (field === undefined) reader.skip(wire, id)
      else this.field(schema, field, wire, out, end, depth)
      if (reader.pos > end) throw new RangeError(`${schema.name} runs past its end`)
    }
    for (const field of schema.fields.values()) {
      const run = out[field.name]
      if (run instanceof ByteRun) out[field.name] = run.bytes
    }
    return out
  }

  private field(schema: Schema, field: Field, wire: WireType, out: Message, end: number, depth: number): void {
    const { kind, name, repeated } = field
    if (kind === 'floatBytes' || kind === 'doubleBytes') {
      const run = (out[name] ?? new ByteRun()) as ByteRun
      run.append(this.fixedBytes(schema, field, wire))
      out[name] = run
    } else if (repeated && wire === WireType.LengthDelimited && isNumeric(kind)) {
      const list = out[name] as unknown[]
      const stop = this.end(end)
      while (this.reader.pos < stop) list.push(this.scalar(kind))
      if (this.reader.pos > stop) throw new RangeError(`${schema.name}.${name} runs past its end`)
    } else {
      if (wire !== wireOf(kind)) throw new Error(`${schema.name}.${name} has wire type ${wire}`)
      const value = kind instanceof Schema ? this.message(kind, this.end(end), depth + 1) : this.scalar(kind)
      if (repeated) (out[name] as unknown[]).push(value)
      else out[name] = value
    }
  }

  /** The end of the length-delimited field that starts here. */
  private end(parent: number): number {
    const length = this.reader.uint32()
    const end = this.reader.pos + length
    if (end > parent) throw new RangeError(`a field of ${length} bytes where ${parent - this.reader.pos} are left`)
    return end
  }

  private scalar(kind: Exclude<Kind, Schema>): unknown {
    const { reader } = this
    switch (kind) {
      case 'int':
        return Number(reader.int64())
      case 'bigint':
        return BigInt(reader.int64())
      case 'float':
        return reader.float()
      case 'string':
        return reader.string()
      default:
        return reader.bytes()
    }
  }

  private fixedBytes(schema: Schema, { name, kind }: Field, wire: WireType): Uint8Array {
    const size = fixedSize(kind)!
    if (wire === WireType.LengthDelimited) {
      const bytes = this.reader.bytes()
      if (bytes.length % size !== 0) throw new RangeError(`${schema.name}.${name} of ${bytes.length} bytes`)
      return bytes
    }
    if (wire !== wireOf(kind)) throw new Error(`${schema.name}.${name} has wire type ${wire}`)
    return this.reader.skip(wire)
  }
}

const isNumeric = (kind: Kind): kind is Exclude<Kind, Schema> =>
  kind === 'int' || kind === 'bigint' || fixedSize(kind) !== undefined

function wireOf(kind: Kind): WireType {
  if (kind === 'int' || kind === 'bigint') return WireType.Varint
  const size = fixedSize(kind)
  return size === undefined ? WireType.LengthDelimited : size === 4 ? WireType.Bit32 : WireType.Bit64
}

/** Joins the pieces of a repeated field. One piece, as every modern writer makes it, stays a view on the file. */
class ByteRun {
  private buffer: Uint8Array | undefined
  private length = 0
  private owned = false

  append(piece: Uint8Array): void {
    if (this.buffer === undefined) this.buffer = piece
    else {
      const needed = this.length + piece.length
      if (!this.owned || needed > this.buffer.length) {
        const grown = new Uint8Array(Math.max(64, needed * 2))
        grown.set(this.bytes)
        this.buffer = grown
        this.owned = true
      }
      this.buffer.set(piece, this.length)
    }
    this.length += piece.length
  }

  get bytes(): Uint8Array {
    return (this.buffer ?? new Uint8Array()).subarray(0, this.length)
  }
}
