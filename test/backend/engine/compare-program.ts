import { forwardGraph, jointGraph, type Preprocess } from '#signstep/autodiff/index.js'
import { compileProgram } from '#signstep/backend/engine/compile-plan.js'
import type { KernelProgram } from '#signstep/backend/engine/program.js'
import { type Graph, interpret } from '#signstep/graph/index.js'
import { randomArray, randomNumbers } from '../../support/random.js'
import { ProgramRun } from './run-program.js'

function relativeError(found: ArrayLike<number>, expected: ArrayLike<number>): number {
  let [error, norm] = [0, 0]
  for (let i = 0; i < expected.length; i++) {
    error += (found[i] - expected[i]) ** 2
    norm += expected[i] ** 2
  }
  return Math.sqrt(error / norm)
}

/** Steps of a model's program against the joint graph in the float64 interpreter, at a batch of 2. */
export function compareProgram(
  model: Graph,
  preprocess: Preprocess,
  foldNorms = true,
): { logits: number; gradient: number; forward: number; program: KernelProgram } {
  const forward = forwardGraph(model, preprocess)
  const program = compileProgram(forward, { loss: 'cross-entropy', targeted: false, foldNorms })
  const joint = jointGraph(model, { preprocess, loss: 'cross-entropy', targeted: false })
  const images = randomArray(randomNumbers(5), [2, ...program.image], 0, 1)
  const labels = [1, program.classes - 1]
  const results = interpret(
    joint,
    new Map([
      ['images', images],
      ['labels', { dtype: 'int64' as const, shape: [2], data: Float64Array.from(labels) }],
    ]),
  )
  const [logits, , inputGradient] = results.map(({ data }) => data)
  const pass = new ProgramRun(program, 2, labels)
  const gradient = pass.run(program.gradient, images.data as Float64Array, program.imageGradient)
  const found = {
    logits: relativeError(pass.run([], images.data as Float64Array, program.logits), logits),
    gradient: relativeError(pass.toPlanes(gradient), inputGradient),
  }
  const other = new ProgramRun(program, 2, labels).run(program.forward, images.data as Float64Array, program.logits)
  return { ...found, forward: relativeError(other, logits), program }
}
