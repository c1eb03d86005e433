import { OptionError } from '../errors/index.js'
import { type ImportedModel, importModel } from '../graph/index.js'
import { type OnnxModel, readModel } from '../onnx/index.js'

export interface ReadOptions {
  /** Height and width, for a model that leaves them open. */
  readonly inputSize?: readonly [number, number]
  /** The output that holds the logits, where the file has several. */
  readonly logits?: string
}

export const readOptions = ['inputSize', 'logits'] as const

export interface ReadGraph {
  readonly onnx: OnnxModel
  readonly imported: ImportedModel
}

/** Reads a file and imports it: folded, batch free. */
export async function readGraph(path: string, { inputSize, logits }: ReadOptions): Promise<ReadGraph> {
  if (inputSize !== undefined && !(inputSize.length === 2 && inputSize.every((size) => size >= 1)))
    throw new OptionError('OPTION_INVALID', 'is no size', {
      subject: 'inputSize',
      expected: 'height and width, as [224, 224]',
      found: String(inputSize),
    })
  const onnx = await readModel(path)
  return { onnx, imported: importModel(onnx, { inputSize, logits, file: path }) }
}
