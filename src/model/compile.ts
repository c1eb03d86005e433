import { basename } from 'node:path'
import { checkLoss, forwardGraph, type LossName } from '../autodiff/index.js'
import { compileProgram, writePlan } from '../backend/index.js'
import { refuseUnknownOptions } from '../errors/index.js'
import { canonicalise } from '../graph/index.js'
import { writeWhole } from '../onnx/index.js'
import { hashOf } from './hash-of.js'
import { type PreprocessOptions, preprocessOptions, resolvePreprocess } from './preprocess.js'
import { type ReadOptions, readGraph, readOptions } from './read-graph.js'
import { freedModel, verifyRebatched } from './verify-rebatched.js'

export interface PlanFileOptions extends ReadOptions, PreprocessOptions {
  /** What an attack with the plan climbs. */
  readonly loss?: LossName
  /** The targeted form of the loss: attacks with the plan name a target for each image. */
  readonly targeted?: boolean
}

const OPTIONS = [...preprocessOptions, ...readOptions, 'loss', 'targeted']

export interface PlanFileSummary {
  readonly bytes: number
  /** Kernel launches of a forward pass, and of one with the gradient. */
  readonly forwardSteps: number
  readonly gradientSteps: number
  readonly notes: readonly string[]
}

/**
 * Writes program and weights of a model, preprocessing inside, to one file that signstep's C interface runs on a GPU or in the simulator
 * without Node (native/include/signstep/engine.h). Batch size and precision are chosen when it is loaded.
 *
 * @throws ModelError where the model cannot be read, or OPERATOR_UNSUPPORTED naming the first node that no kernel covers; OptionError;
 * SignstepError OUTPUT_FAILED
 */
export async function compile(path: string, output: string, options: PlanFileOptions = {}): Promise<PlanFileSummary> {
  refuseUnknownOptions(options, OPTIONS, 'compile')
  const { loss = 'cross-entropy', targeted = false } = options
  checkLoss(loss, targeted)
  const { onnx, imported } = await readGraph(path, options)
  const preprocess = resolvePreprocess(options, imported.graph.inputs[0].shape[1] as number)
  const forward = forwardGraph(canonicalise(imported.graph, { keepParameters: false }), preprocess)
  const program = compileProgram(forward, { loss, targeted })
  const notes = [...imported.notes]
  await verifyRebatched(freedModel(path, forward, preprocess), onnx, imported, notes)
  const plan = writePlan(program, `${basename(path)} sha256:${await hashOf(path)}`)
  await writeWhole([{ path: output, chunks: [plan] }], 'the plan')
  return {
    bytes: plan.length,
    forwardSteps: program.forward.length,
    gradientSteps: program.gradient.length,
    notes,
  }
}
