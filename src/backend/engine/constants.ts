import { float32Tensor, type Tensor } from '../../tensor/index.js'
import { type ElementType, PlanBuffer } from './program.js'

/** Stored constants, shared by all steps of a plan: one per content, element type and orientation. */
export class Constants {
  private readonly made = new Map<ArrayBufferView, Map<string, PlanBuffer>>()
  private readonly centredWeights = new Map<ArrayBufferView, Tensor>()
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

  /**
   * The weights of a product that reads a folded LayerNorm as [n,k], less the mean of each row. Normalised rows sum to 0, so that this changes
   * nothing but that next to nothing is left to subtract for the mean of x, and nothing to add in the backward.
   */
  centred(tensor: Tensor, transposedB: boolean): Tensor {
    let made = this.centredWeights.get(tensor.data)
    if (made === undefined) {
      const [n, k] = transposedB ? tensor.shape : [tensor.shape[1], tensor.shape[0]]
      const [ofRow, ofColumn] = transposedB ? [k, 1] : [1, n]
      const given = tensor.data as Float32Array
      const values = new Float32Array(n * k)
      for (let row = 0; row < n; row++) {
        let mean = 0
        for (let c = 0; c < k; c++) mean += given[row * ofRow + c * ofColumn] / k
        for (let c = 0; c < k; c++) values[row * k + c] = given[row * ofRow + c * ofColumn] - mean
      }
      made = float32Tensor([n, k], values)
      this.centredWeights.set(tensor.data, made)
    }
    return made
  }

  /** Sums of the rows of a matrix. */
  rowSums(tensor: Tensor): PlanBuffer {
    const [rows, columns] = tensor.shape
    const own = this.made.get(tensor.data) ?? new Map<string, PlanBuffer>()
    this.made.set(tensor.data, own)
    let buffer = own.get('row sums')
    if (buffer === undefined) {
      buffer = new PlanBuffer('float32', rows, { tensor, rowSums: [rows, columns] })
      own.set('row sums', buffer)
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
