import type { AttackSpec } from '../attack/index.js'
import { type Interpolation, openDataset } from '../data/index.js'
import { AbortedError } from '../errors/index.js'
import { evaluate } from '../evaluate/index.js'
import { loadModel, type ModelOptions } from '../model/index.js'
import { RunFolder, renderTable } from '../report/index.js'
import { interruptible } from './interrupt.js'
import { createProgress } from './progress.js'

export interface RunOptions extends Omit<ModelOptions, 'batch'> {
  readonly data: string
  readonly resize?: number | readonly [number, number]
  readonly crop?: readonly [number, number]
  readonly interpolation?: Interpolation
  readonly labelMap?: string
  readonly limit?: number
  readonly batch: number | 'auto'
  readonly seed: number
  readonly out?: string
  readonly quiet?: boolean
  readonly json?: boolean
  readonly attacks: readonly AttackSpec[]
  readonly attackErrors: boolean
  readonly saveAdversarial: boolean
}

/** What `attack` and `evaluate` share: model, data, the run itself, its folder, the table on stdout. Resolves with the exit code. */
export async function runEvaluation(path: string, options: RunOptions): Promise<number> {
  const progress = createProgress(options.quiet === true)
  const interrupt = interruptible()
  const { signal } = interrupt
  const batch = options.batch === 'auto' ? undefined : options.batch
  const { preprocess, mean, std, scale, channelOrder, inputSize, logits, device, precision, threads } = options
  await using model = await loadModel(
    path,
    given({ preprocess, mean, std, scale, channelOrder, inputSize, logits, device, precision, threads, batch }),
  )
  if (model.deviceNote !== undefined && !options.quiet) process.stderr.write(`${model.deviceNote}\n`)
  // That a batch had to be halved, when it loads or later; what is to be said of the file can wait for the end.
  const told = new Set(model.notes.filter((note) => !model.backend.notes.includes(note)))
  const tell = (): void => {
    for (const note of model.notes) if (!told.has(note)) progress.say(note)
    for (const note of model.notes) told.add(note)
  }
  tell()
  const { resize, crop, interpolation, limit, labelMap } = options
  const dataset = await openDataset(
    options.data,
    given({ resize, crop, interpolation, limit, labelMap, imageShape: model.imageShape }),
  )
  const folder =
    options.out === undefined
      ? undefined
      : await RunFolder.create(options.out, {
          attacks: options.attacks,
          imageShape: model.imageShape,
          saveAdversarial: options.saveAdversarial,
          file: (index) => dataset.file(index),
        })
  try {
    const { result, examples } = await evaluate(model, dataset, {
      attacks: options.attacks,
      attackErrors: options.attackErrors,
      batch: model.batch,
      seed: options.seed,
      command: commandLine(),
      signal,
      onBatch: (batch) => folder?.append(batch),
      onProgress: ({ samples, total, attack, cleanAccuracy, robustAccuracy, step, fraction }) => {
        tell()
        const parts = [`${samples}/${total} images`, attack]
        if (step) parts.push(`step ${step.step}/${step.steps}`, `loss ${step.meanLoss.toFixed(3)}`)
        parts.push(`clean ${(100 * cleanAccuracy).toFixed(1)} %`)
        if (robustAccuracy !== undefined) parts.push(`robust ${(100 * robustAccuracy).toFixed(1)} %`)
        progress.update(fraction, parts.join(', '))
      },
    })
    await folder?.finish(result, examples)
    progress.finish()
    if (options.json) process.stdout.write(`${JSON.stringify(result, null, 2)}\n`)
    else process.stdout.write(renderTable(result))
    for (const warning of result.warnings) process.stderr.write(`signstep: warning: ${warning}\n`)
    if (folder && !options.json) process.stdout.write(`\nReport: ${folder.path.replace(/\/$/, '')}/report.html\n`)
    return 0
  } catch (error) {
    progress.finish()
    await folder?.abandon()
    if (!(error instanceof AbortedError)) throw error
    const kept = folder ? `; what was measured is in ${folder.path} (samples.csv, metrics.jsonl)` : ''
    process.stderr.write(`signstep: interrupted${kept}\n`)
    return interrupt.exitCode()
  } finally {
    await dataset.close()
    interrupt.release()
  }
}

/** Without the options that were left out: they must not hide defaults. */
function given<T extends object>(options: T): T {
  return Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined)) as T
}

/** The command as one would type it again. */
function commandLine(): string {
  const quoted = process.argv
    .slice(2)
    .map((word) => (/^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`))
  return `signstep ${quoted.join(' ')}`
}
