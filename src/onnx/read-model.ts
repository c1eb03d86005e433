import { dirname } from 'node:path'
import { decodeModel } from './decode.js'
import { readModelFile } from './files.js'
import type { OnnxModel } from './model.js'

/**
 * Reads an ONNX file and the external data beside it.
 * @throws ModelError MODEL_NOT_FOUND, MODEL_INVALID, MODEL_UNSUPPORTED or MODEL_EXTERNAL_DATA, naming the file.
 */
export async function readModel(path: string): Promise<OnnxModel> {
  const bytes = await readModelFile(path)
  return decodeModel(bytes, { name: path, directory: dirname(path), consume: true })
}
