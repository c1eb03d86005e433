import { inspect, listProgram, type ReadOptions, renderInspect } from '../../model/index.js'

/** `signstep inspect`: what a model is made of. */
export async function inspectCommand(model: string, options: Record<string, unknown>): Promise<number> {
  const { inputSize, logits } = options as ReadOptions
  if (options.program) {
    process.stdout.write(await listProgram(model, { inputSize, logits }))
    return 0
  }
  const result = await inspect(model, { inputSize, logits })
  process.stdout.write(options.json ? `${JSON.stringify(result, null, 2)}\n` : renderInspect(result))
  return 0
}
