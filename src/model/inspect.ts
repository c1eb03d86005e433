import { refuseUnknownOptions } from '../errors/index.js'
import { type InspectResult, inspectModel } from '../inspect/index.js'
import { type ReadOptions, readGraph, readOptions } from './read-graph.js'

/** What an ONNX file is made of: blocks, FLOPs, parameters, memory, and what was not recognised. Runs nothing. */
export async function inspect(path: string, options: ReadOptions = {}): Promise<InspectResult> {
  refuseUnknownOptions(options, readOptions, 'inspect')
  const { onnx, imported } = await readGraph(path, options)
  return inspectModel({ file: path, model: onnx, graph: imported.graph, notes: imported.notes })
}
