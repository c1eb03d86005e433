import { checkLoss, forwardGraph, jointGraph, type LossName } from '../autodiff/index.js'
import { forRuntime } from '../backend/index.js'
import { ModelError, OptionError, refuseUnknownOptions } from '../errors/index.js'
import { canonicalise, exportModel } from '../graph/index.js'
import { writeModel } from '../onnx/index.js'
import { type PreprocessOptions, preprocessOptions, resolvePreprocess } from './preprocess.js'
import { type ReadOptions, readGraph, readOptions } from './read-graph.js'
import { freedModel, verifyRebatched } from './verify-rebatched.js'

export interface GradientOptions extends ReadOptions, PreprocessOptions {
  readonly loss?: LossName
  /** The targeted form of the loss, with a third input `targets`. */
  readonly targeted?: boolean
  /** Gradients of the mean loss for all float initialisers, or those whose name matches. */
  readonly parameters?: true | RegExp
}

const OPTIONS = [...preprocessOptions, ...readOptions, 'loss', 'targeted', 'parameters']

export interface GradientSummary {
  readonly inputs: readonly string[]
  readonly outputs: readonly string[]
  readonly notes: readonly string[]
}

/**
 * Writes loss and gradients of a model as an ordinary ONNX file of standard operators, preprocessing inside. Inputs `images` [N,C,H,W] in
 * [0,1], `labels` int64 [N] (`targets` too for a targeted loss; for KL `reference_logits` [N,classes] instead of both); outputs `logits`, `loss` [N], `input_gradient` [N,C,H,W] (of each sample's own
 * loss) and `grad:<initialiser>` of the mean loss. N stays free.
 *
 * @throws ModelError where the model cannot be read or differentiated, OptionError
 */
export async function gradient(path: string, output: string, options: GradientOptions = {}): Promise<GradientSummary> {
  refuseUnknownOptions(options, OPTIONS, 'gradient')
  const { loss = 'cross-entropy', targeted = false, parameters } = options
  checkLoss(loss, targeted)
  const { onnx, imported } = await readGraph(path, options)
  const preprocess = resolvePreprocess(options, imported.graph.inputs[0].shape[1] as number)
  const canonical = canonicalise(imported.graph, { keepParameters: parameters !== undefined })
  const joint = jointGraph(canonical, { preprocess, loss, targeted, parameters })
  const outputs = joint.outputs.map(({ name }) => name)
  if (parameters !== undefined && !outputs.some((name) => name.startsWith('grad:')))
    throw new OptionError('OPTION_INVALID', 'matches no initialiser on the way to the logits', {
      subject: '--parameters',
      found: String(parameters),
      cure: '`signstep inspect --json` shows what the model holds.',
    })
  const stray = joint.inputs.find(({ name }) => !['images', 'labels', 'targets', 'reference_logits'].includes(name))
  if (stray !== undefined)
    throw new ModelError('MODEL_UNSUPPORTED', 'the model has a second input', { subject: path, found: stray.name })
  const notes = [...imported.notes]
  await verifyRebatched(freedModel(path, forwardGraph(canonical, preprocess), preprocess), onnx, imported, notes)
  await writeModel(output, exportModel(forRuntime(joint)))
  return { inputs: joint.inputs.map(({ name }) => name), outputs, notes }
}
