import { forwardGraph } from '../autodiff/index.js'
import { compileProgram, printProgram } from '../backend/index.js'
import { refuseUnknownOptions } from '../errors/index.js'
import { canonicalise } from '../graph/index.js'
import { type PreprocessOptions, preprocessOptions, resolvePreprocess } from './preprocess.js'
import { type ReadOptions, readGraph, readOptions } from './read-graph.js'

export interface ProgramListingOptions extends ReadOptions, PreprocessOptions {}

/**
 * The kernel launches that a model comes down to on a GPU, one a line: forward pass, and with loss and gradient. Runs nothing and needs no GPU.
 *
 * @throws ModelError where the model cannot be read, or OPERATOR_UNSUPPORTED naming the first node that no kernel covers
 */
export async function listProgram(path: string, options: ProgramListingOptions = {}): Promise<string> {
  refuseUnknownOptions(options, [...preprocessOptions, ...readOptions], 'listProgram')
  const { imported } = await readGraph(path, options)
  const preprocess = resolvePreprocess(options, imported.graph.inputs[0].shape[1] as number)
  const forward = forwardGraph(canonicalise(imported.graph, { keepParameters: false }), preprocess)
  return printProgram(compileProgram(forward, { loss: 'cross-entropy', targeted: false }))
}
