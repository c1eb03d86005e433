import { compile, type PlanFileOptions } from '../../model/index.js'

/** `signstep compile`: program and weights as one file for the C interface. */
export async function compileCommand(model: string, options: Record<string, unknown>): Promise<number> {
  const { output, json, ...rest } = options
  const summary = await compile(model, output as string, rest as PlanFileOptions)
  for (const note of summary.notes) process.stderr.write(`signstep: note: ${note}\n`)
  if (json) process.stdout.write(`${JSON.stringify({ output, ...summary }, null, 2)}\n`)
  else
    process.stderr.write(
      `${output}: ${(summary.bytes / 1e6).toFixed(1)} MB; ${summary.forwardSteps} steps forward, ${summary.gradientSteps} with the gradient\n`,
    )
  return 0
}
