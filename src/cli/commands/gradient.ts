import { OptionError } from '../../errors/index.js'
import { type GradientOptions, gradient } from '../../model/index.js'

/** `signstep gradient`: loss and gradients as an ordinary ONNX file. */
export async function gradientCommand(model: string, options: Record<string, unknown>): Promise<number> {
  const { output, parameters, ...rest } = options
  let wanted: true | RegExp | undefined
  if (parameters === true) wanted = true
  else if (typeof parameters === 'string') {
    try {
      wanted = new RegExp(parameters)
    } catch (error) {
      throw new OptionError('OPTION_INVALID', (error as Error).message, {
        subject: '--parameters',
        expected: 'a regular expression',
        found: `'${parameters}'`,
      })
    }
  }
  const summary = await gradient(model, output as string, { ...(rest as GradientOptions), parameters: wanted })
  for (const note of summary.notes) process.stderr.write(`signstep: note: ${note}\n`)
  process.stderr.write(
    `${output}: inputs ${summary.inputs.join(', ')}; outputs ${summary.outputs.slice(0, 3).join(', ')}${summary.outputs.length > 3 ? ` and ${summary.outputs.length - 3} parameter gradients` : ''}\n`,
  )
  return 0
}
