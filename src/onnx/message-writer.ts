import { BinaryWriter, WireType } from '@bufbuild/protobuf/wire'
import type { Field, Kind, Schema } from './schema.js'

/** Byte fields from this length on are not copied while encoding. */
const KEPT_APART = 4096

/** A message as pieces to be written one after another; long byte fields are the caller's own arrays. */
export interface Pieces {
  readonly chunks: readonly Uint8Array[]
  readonly length: number
}

/** Encodes plain data by its schema, fields in the order of the schema, undefined and empty ones left out. */
export function writeMessage(schema: Schema, message: object): Pieces {
  const out = new PieceWriter()
  for (const field of schema.fields.values()) {
    const value = (message as Record<string, unknown>)[field.name]
    if (value === undefined) continue
    if (!field.repeated) writeField(out, field, value)
    else if (isPacked(field.kind)) writePacked(out, field, value as readonly (number | bigint)[])
    else for (const element of value as readonly unknown[]) writeField(out, field, element)
  }
  return out.finish()
}

/** The pieces in one array. */
export function joinPieces({ chunks, length }: Pieces): Uint8Array {
  const bytes = new Uint8Array(length)
  let position = 0
  for (const chunk of chunks) {
    bytes.set(chunk, position)
    position += chunk.length
  }
  return bytes
}

class PieceWriter {
  readonly writer = new BinaryWriter()
  private readonly chunks: Uint8Array[] = []

  bytes(bytes: Uint8Array): void {
    this.writer.uint32(bytes.length)
    this.append(bytes)
  }

  message({ chunks, length }: Pieces): void {
    this.writer.uint32(length)
    for (const chunk of chunks) this.append(chunk)
  }

  finish(): Pieces {
    this.flush()
    return { chunks: this.chunks, length: this.chunks.reduce((sum, chunk) => sum + chunk.length, 0) }
  }

  private append(bytes: Uint8Array): void {
    if (bytes.length < KEPT_APART) this.writer.raw(bytes)
    else {
      this.flush()
      this.chunks.push(bytes)
    }
  }

  private flush(): void {
    const bytes = this.writer.finish()
    if (bytes.length > 0) this.chunks.push(bytes)
  }
}

function writeField(out: PieceWriter, { id, kind }: Field, value: unknown): void {
  const { writer } = out
  writer.tag(id, wireOf(kind))
  if (typeof kind !== 'string') out.message(writeMessage(kind, value as object))
  else if (kind === 'string') writer.string(value as string)
  else if (kind === 'bytes' || kind === 'floatBytes' || kind === 'doubleBytes') out.bytes(value as Uint8Array)
  else writeNumber(writer, kind, value as number | bigint)
}

function writePacked(out: PieceWriter, { id, kind }: Field, values: readonly (number | bigint)[]): void {
  if (values.length === 0) return
  const packed = new BinaryWriter()
  for (const value of values) writeNumber(packed, kind, value)
  out.writer.tag(id, WireType.LengthDelimited)
  out.bytes(packed.finish())
}

function writeNumber(writer: BinaryWriter, kind: Kind, value: number | bigint): void {
  if (kind === 'float') writer.float(Number(value))
  else writer.int64(saturate(value))
}

/** "To the end" is 2^63 - 1 in the standard and 2^63 as a number. */
function saturate(value: number | bigint): bigint {
  const integer = BigInt(value)
  return integer >= 2n ** 63n ? 2n ** 63n - 1n : integer
}

const isPacked = (kind: Kind): boolean => kind === 'int' || kind === 'bigint' || kind === 'float'

function wireOf(kind: Kind): WireType {
  if (kind === 'int') return WireType.Varint
  return kind === 'float' ? WireType.Bit32 : WireType.LengthDelimited
}
