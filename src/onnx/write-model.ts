import { basename } from 'node:path'
import type { Tensor } from '../tensor/index.js'
import { encodePieces } from './encode.js'
import type { OnnxGraph, OnnxModel } from './model.js'
import type { TensorProto } from './schema.js'
import { protoOf } from './tensors.js'
import { writeWhole } from './write-whole.js'

export interface WriteOptions {
  /** Weights of more bytes than this in all go to `<file>.data` beside the model; 1.8 GB, as protobuf ends at 2 GB. */
  readonly externalAbove?: number
}

/** Smaller tensors stay in the model, where shape inference wants to see them. */
const SMALLEST_EXTERNAL = 1024
/** Runtimes map the file into memory by pages. */
const ALIGNMENT = 4096

/**
 * Writes an ONNX file of opset 26. It appears under its name only when it is whole on the disk.
 * @throws SignstepError OUTPUT_FAILED, leaving no partial file.
 */
export async function writeModel(path: string, model: OnnxModel, options: WriteOptions = {}): Promise<void> {
  const { externalAbove = 1.8e9 } = options
  const dataPath = `${path}.data`
  const external = new ExternalTensors(basename(dataPath))
  const isLarge = bytesOfWeights(model.graph) > externalAbove
  const { chunks } = encodePieces(model, isLarge ? (tensor, name) => external.encode(tensor, name) : protoOf)
  const files = [{ path, chunks }]
  // The data first: a model must never be seen without them.
  if (isLarge) files.unshift({ path: dataPath, chunks: external.chunks })

  await writeWhole(files, 'the model')
}

class ExternalTensors {
  readonly chunks: Uint8Array[] = []
  private length = 0

  constructor(private readonly location: string) {}

  encode(tensor: Tensor, name?: string): TensorProto {
    const proto = protoOf(tensor, name)
    const bytes = proto.rawData!
    if (name === undefined || bytes.length < SMALLEST_EXTERNAL) return proto
    this.append(new Uint8Array((ALIGNMENT - (this.length % ALIGNMENT)) % ALIGNMENT))
    const entries = { location: this.location, offset: `${this.length}`, length: `${bytes.length}` }
    this.append(bytes)
    return {
      ...proto,
      rawData: undefined,
      dataLocation: 1,
      externalData: Object.entries(entries).map(([key, value]) => ({ key, value })),
    }
  }

  private append(bytes: Uint8Array): void {
    this.chunks.push(bytes)
    this.length += bytes.length
  }
}

function bytesOfWeights(graph: OnnxGraph): number {
  let sum = 0
  for (const { data } of graph.initialisers.values()) sum += data.byteLength
  return sum
}
