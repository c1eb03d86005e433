import { float32Tensor, type Tensor } from '../../tensor/index.js'
import { type ElementType, PlanBuffer } from './program.js'

/** Stored constants, shared by all steps of a plan: one per content, element type and orientation. */
export class Constants {
  private readonly made = new Map<ArrayBufferView, Map<string, PlanBuffer>>()
  private readonly vectors = new Map<string, Tensor>()

  /** `transposed` [rows, columns]: stored as [columns, rows]. */
  of(tensor: Tensor, type: ElementType, transposed?: readonly [number, number]): PlanBuffer {
    const own = this.made.get(tensor.data) ?? new Map<string, PlanBuffer>()
    this.made.set(tensor.data, own)
    const key = `${type} ${transposed ?? ''}`
    let buffer = own.get(key)
    if (buffer === undefined) {
      buffer = new PlanBuffer(type, tensor.data.length, { tensor, transposed })
      own.set(key, buffer)
    }
    return buffer
  }

  /** A vector that was computed while lowering; equal ones are one. */
  vector(values: Float32Array<ArrayBuffer>, type: ElementType = 'float32'): PlanBuffer {
    const key = Buffer.from(values.buffer, values.byteOffset, values.byteLength).toString('latin1')
    let tensor = this.vectors.get(key)
    if (tensor === undefined) {
      tensor = float32Tensor([values.length], values)
      this.vectors.set(key, tensor)
    }
    return this.of(tensor, type)
  }
}
