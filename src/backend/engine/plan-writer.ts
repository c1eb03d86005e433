import { crc32 } from 'node:zlib'
import { type Dim, isBatch } from '../../graph/index.js'
import { numbersOf, type Tensor } from '../../tensor/index.js'
import {
  type ElementType,
  type KernelProgram,
  layouts,
  lossCodes,
  opCodes,
  type PlanBuffer,
  type Step,
  type StoredConstant,
} from './program.js'

/** The layout of a plan file stands in native/core/program/program.h. */
const VERSION = 2
const HEADER_BYTES = 104
const BUFFER_BYTES = 40
const STEP_BYTES = 456
const [BUFFERS, INTS, FLOATS, NAME_BYTES] = [12, 40, 4, 64]

const elementTypes: Readonly<Record<ElementType, number>> = { value: 0, float32: 1, int32: 2 }
const storages = { activation: 0, asIs: 1, transposed: 2, rowSums: 3 } as const

/** A batch-sized dimension is written as a negative number: −factor. */
const encode = (dim: Dim): number => (isBatch(dim) ? -dim.factor : dim)

export function writePlan(program: KernelProgram, source: string): Uint8Array {
  const buffers = buffersOf(program)
  const index = new Map(buffers.map((buffer, i) => [buffer, i]))
  const data = new DataSection(buffers)
  const note = new TextEncoder().encode(source)
  const steps = [...program.forward, ...program.gradient]
  const table = HEADER_BYTES + buffers.length * BUFFER_BYTES + steps.length * STEP_BYTES
  const dataOffset = align(table + note.length)
  const bytes = new Uint8Array(dataOffset + data.bytes)
  const view = new DataView(bytes.buffer)
  const u32 = (at: number, value: number): void => view.setUint32(at, value, true)
  const i64 = (at: number, value: number): void => view.setBigInt64(at, BigInt(value), true)

  bytes.set(new TextEncoder().encode('SIGNPLAN'), 0)
  u32(8, VERSION)
  i64(16, bytes.length)
  u32(24, buffers.length)
  u32(28, program.forward.length)
  u32(32, program.gradient.length)
  u32(36, note.length)
  i64(40, dataOffset)
  i64(48, data.bytes)
  const place = (buffer: PlanBuffer): number => index.get(buffer) ?? -1
  const header = [
    ...program.image,
    program.classes,
    layouts[program.layout],
    program.patch,
    lossCodes[program.loss],
    program.targeted ? 1 : 0,
    place(program.input),
    place(program.logits),
    place(program.imageGradient),
  ]
  for (const [i, value] of header.entries()) view.setInt32(56 + 4 * i, value, true)

  for (const [i, buffer] of buffers.entries()) {
    const at = HEADER_BYTES + i * BUFFER_BYTES
    const { constant } = buffer
    u32(at, elementTypes[buffer.type])
    u32(at + 4, storageOf(constant))
    i64(at + 8, encode(buffer.elements))
    i64(at + 16, (constant?.transposed ?? constant?.rowSums)?.[0] ?? 0)
    i64(at + 24, (constant?.transposed ?? constant?.rowSums)?.[1] ?? 0)
    i64(at + 32, data.offsetOf(buffer))
  }
  for (const [i, step] of steps.entries())
    writeStep(view, bytes, HEADER_BYTES + buffers.length * BUFFER_BYTES + i * STEP_BYTES, step, index)
  bytes.set(note, table)
  data.write(bytes, dataOffset)
  u32(12, crc32(bytes.subarray(16)))
  return bytes
}

function storageOf(constant: StoredConstant | undefined): number {
  if (constant === undefined) return storages.activation
  if (constant.rowSums !== undefined) return storages.rowSums
  return constant.transposed === undefined ? storages.asIs : storages.transposed
}

function writeStep(
  view: DataView,
  bytes: Uint8Array,
  at: number,
  step: Step,
  index: ReadonlyMap<PlanBuffer, number>,
): void {
  if (step.buffers.length > BUFFERS || step.ints.length > INTS || step.floats.length > FLOATS)
    throw new Error(`${step.name}: ${step.op} has too many operands`)
  view.setUint32(at, opCodes[step.op], true)
  for (let i = 0; i < BUFFERS; i++) {
    const buffer = step.buffers[i]
    view.setInt32(at + 4 + 4 * i, buffer === undefined ? -1 : (index.get(buffer) ?? -1), true)
  }
  for (const [i, dim] of step.ints.entries()) view.setBigInt64(at + 56 + 8 * i, BigInt(encode(dim)), true)
  for (const [i, number] of step.floats.entries()) view.setFloat32(at + 376 + 4 * i, number, true)
  // The end of a name says more than its start; one byte stays zero.
  const name = new TextEncoder().encode(step.name)
  bytes.set(name.subarray(Math.max(0, name.length - (NAME_BYTES - 1))), at + 392)
}

/** Every buffer the program touches, in order of first use. */
export function buffersOf(program: KernelProgram): PlanBuffer[] {
  const found = new Set<PlanBuffer>([program.input, program.logits, program.imageGradient])
  for (const { buffers } of [...program.forward, ...program.gradient])
    for (const buffer of buffers) if (buffer !== undefined) found.add(buffer)
  return [...found]
}

const align = (offset: number): number => Math.ceil(offset / 64) * 64

/** Constants as float32 (indices as int32), one copy of each tensor however it is stored on the device. */
class DataSection {
  bytes = 0
  private readonly offsets = new Map<PlanBuffer, number>()
  private readonly parts: { readonly tensor: Tensor; readonly integer: boolean; readonly offset: number }[] = []

  constructor(buffers: readonly PlanBuffer[]) {
    const placed = new Map<ArrayBufferView, number>()
    for (const buffer of buffers) {
      if (buffer.constant === undefined) continue
      const { tensor } = buffer.constant
      let offset = placed.get(tensor.data)
      if (offset === undefined) {
        offset = this.bytes
        placed.set(tensor.data, offset)
        this.parts.push({ tensor, integer: buffer.type === 'int32', offset })
        this.bytes = align(this.bytes + 4 * tensor.data.length)
      }
      this.offsets.set(buffer, offset)
    }
  }

  offsetOf(buffer: PlanBuffer): number {
    return this.offsets.get(buffer) ?? 0
  }

  write(bytes: Uint8Array, from: number): void {
    for (const { tensor, integer, offset } of this.parts) {
      const at = bytes.byteOffset + from + offset
      const length = tensor.data.length
      if (integer) new Int32Array(bytes.buffer, at, length).set(numbersOf(tensor))
      else
        new Float32Array(bytes.buffer, at, length).set(
          tensor.dtype === 'float32' ? (tensor.data as Float32Array) : numbersOf(tensor),
        )
    }
  }
}
