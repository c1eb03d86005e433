import { type ImportedModel, importModel } from '../graph/index.js'
import { type OnnxModel, readModel } from '../onnx/index.js'

export interface ReadOptions {
  /** Fixes a dynamic height and width. */
  readonly inputSize?: readonly [number, number]
}

export interface ReadGraph {
  readonly onnx: OnnxModel
  readonly imported: ImportedModel
}

/** Reads a file and imports it: folded, batch free. */
export async function readGraph(path: string, { inputSize }: ReadOptions): Promise<ReadGraph> {
  const onnx = await readModel(path)
  return { onnx, imported: importModel(onnx, { inputSize, file: path }) }
}
