import { inspect, renderInspect } from '../../model/index.js'

/** `signstep inspect`: what a model is made of. */
export async function inspectCommand(model: string, options: Record<string, unknown>): Promise<number> {
  const result = await inspect(model, { inputSize: options.inputSize as [number, number] | undefined })
  process.stdout.write(options.json ? `${JSON.stringify(result, null, 2)}\n` : renderInspect(result))
  return 0
}
