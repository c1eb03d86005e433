import { mkdir, open, readdir, rename, rm, rmdir } from 'node:fs/promises'
import { join } from 'node:path'
import { createNpzWriter, makeFolder, type NpzWriter } from '../data/index.js'
import { SignstepError } from '../errors/index.js'
import type { BatchOutcome, EvaluationResult, Example } from '../evaluate/index.js'
import { epsLabel } from './eps-label.js'
import { renderReport } from './html.js'
import { LineFile } from './line-file.js'

/** Under which a file is written until it is whole; a run that was killed may leave one. */
const temporaryName = (path: string): string => `${path}.part`

const WHOLE = ['result.json', 'report.html']
const OURS = new Set([...WHOLE, ...WHOLE.map(temporaryName), 'samples.csv', 'metrics.jsonl', 'adversarial'])

export interface RunFolderOptions {
  /** Column names and file names of the attacks, in the order of the run. */
  readonly attacks: readonly { readonly name: string; readonly eps: number }[]
  readonly imageShape: readonly [number, number, number]
  readonly saveAdversarial: boolean
  /** Names the source of a sample. */
  readonly file: (index: number) => string
}

/**
 * The folder of one run. samples.csv and metrics.jsonl grow line by line as batches finish, so a killed run leaves what it had
 * measured; result.json, report.html and the .npz files appear whole at the end (temporary name, fsync, rename).
 */
export class RunFolder {
  readonly path: string
  private readonly options: RunFolderOptions
  private readonly archives: NpzWriter[] = []
  private samples!: LineFile
  private metrics!: LineFile
  /** The folder was not there before. */
  private made = false
  /** Something was measured that is worth keeping. */
  private measured = false

  private constructor(path: string, options: RunFolderOptions) {
    this.path = path
    this.options = options
  }

  /** Makes the folder, or takes one that is empty or holds an earlier run, whose files it replaces. */
  static async create(path: string, options: RunFolderOptions): Promise<RunFolder> {
    const folder = new RunFolder(path, options)
    try {
      await folder.open()
      return folder
    } catch (error) {
      throw asOutputError(error, path)
    }
  }

  private async open(): Promise<void> {
    const { path, options } = this
    this.made = await makeFolder(path)
    const foreign = (await readdir(path)).filter((name) => !OURS.has(name))
    if (foreign.length > 0)
      throw new SignstepError('OUTPUT_FAILED', 'the folder holds other files', {
        subject: path,
        expected: 'a new or empty folder, or one of an earlier run',
        found: foreign.slice(0, 3).join(', '),
        cure: 'Give another --out.',
      })
    await this.clear()
    try {
      this.samples = await LineFile.create(join(path, 'samples.csv'))
      this.metrics = await LineFile.create(join(path, 'metrics.jsonl'))
      const columns = options.attacks.map(({ name, eps }) => `,${name}@${epsLabel(eps)}`).join('')
      await this.samples.append(`index,file,label,clean${columns}\n`)
      if (options.saveAdversarial) await this.openArchives()
    } catch (error) {
      await this.abandon()
      throw error
    }
  }

  private async openArchives(): Promise<void> {
    const { attacks, imageShape } = this.options
    const folder = join(this.path, 'adversarial')
    await mkdir(folder)
    for (const { name, eps } of attacks)
      this.archives.push(
        await createNpzWriter(join(folder, `${name}-${epsLabel(eps).replace('/', '_')}.npz`), {
          images: { dtype: 'float32', shape: imageShape },
          clean: { dtype: 'float32', shape: imageShape },
          labels: { dtype: 'int64', shape: [] },
          predictions: { dtype: 'int64', shape: [] },
          success: { dtype: 'bool', shape: [] },
          loss: { dtype: 'float32', shape: [] },
          linf: { dtype: 'float32', shape: [] },
          l2: { dtype: 'float32', shape: [] },
        }),
      )
  }

  private async clear(): Promise<void> {
    for (const name of OURS) await rm(join(this.path, name), { recursive: true, force: true })
  }

  /** Appends the verdicts (1 = still right) and a line of running metrics; with saved adversarials, their rows. */
  async append(batch: BatchOutcome): Promise<void> {
    const { indices, labels, cleanPredictions, attacks, images } = batch
    const lines: string[] = []
    for (let i = 0; i < labels.length; i++) {
      const verdicts = attacks.map(({ robust }) => `,${robust[i]}`).join('')
      lines.push(
        `${indices[i]},${csvField(this.options.file(indices[i]))},${labels[i]},${cleanPredictions[i] === labels[i] ? 1 : 0}${verdicts}\n`,
      )
    }
    const metric = {
      time: new Date().toISOString(),
      samples: labels.length,
      clean: count(cleanPredictions, (p, i) => p === labels[i]),
      attacks: attacks.map(({ spec, robust, result }) => ({
        name: spec.name,
        eps: spec.eps,
        robust: count(robust, (flag) => flag === 1),
        attacked: result.loss.length,
        meanLoss: result.loss.length === 0 ? null : result.loss.reduce((a, b) => a + b, 0) / result.loss.length,
        gradientCalls: result.gradientCalls,
      })),
    }
    try {
      await this.samples.append(lines.join(''))
      await this.metrics.append(`${JSON.stringify(metric)}\n`)
      this.measured = true
      const [c, h, w] = this.options.imageShape
      const per = c * h * w
      for (const [a, archive] of this.archives.entries()) {
        const { rows, result } = attacks[a]
        const clean = new Float32Array(rows.length * per)
        for (const [k, i] of rows.entries()) clean.set(images.subarray(i * per, (i + 1) * per), k * per)
        await archive.append({
          images: result.images,
          clean,
          labels: BigInt64Array.from(rows, (i) => BigInt(labels[i])),
          predictions: BigInt64Array.from(result.predictions, BigInt),
          success: result.success,
          loss: result.loss,
          linf: result.linf,
          l2: result.l2,
        })
      }
    } catch (error) {
      throw asOutputError(error, this.path)
    }
  }

  /** Writes result.json and report.html and closes the rest. */
  async finish(result: EvaluationResult, examples: readonly Example[]): Promise<void> {
    try {
      for (const archive of this.archives) await archive.finish()
      await this.close()
      await writeAtomically(join(this.path, 'result.json'), `${JSON.stringify(result, null, 2)}\n`)
      await writeAtomically(join(this.path, 'report.html'), renderReport(result, examples))
    } catch (error) {
      throw asOutputError(error, this.path)
    }
  }

  /**
   * Ends a run that was interrupted or failed: what was measured stays in samples.csv and metrics.jsonl, unfinished archives go. Of a run
   * that measured nothing, nothing stays. Never throws: what went wrong before is what is to be told.
   */
  async abandon(): Promise<void> {
    try {
      for (const archive of this.archives) await archive.abort()
      await this.close()
      if (this.measured) return
      await this.clear()
      if (this.made) await rmdir(this.path)
    } catch {
      // A disk that fails, or a folder in which others have put something.
    }
  }

  private async close(): Promise<void> {
    await this.samples?.close()
    await this.metrics?.close()
  }
}

export async function writeAtomically(path: string, text: string): Promise<void> {
  const temporary = temporaryName(path)
  try {
    const file = await open(temporary, 'w')
    try {
      await file.writeFile(text)
      await file.sync()
    } finally {
      await file.close()
    }
    await rename(temporary, path)
  } catch (error) {
    await rm(temporary, { force: true })
    throw asOutputError(error, path)
  }
}

function asOutputError(error: unknown, path: string): unknown {
  if (error instanceof SignstepError) return error
  const cause = error as NodeJS.ErrnoException
  const cures: Record<string, string> = {
    ENOSPC: 'Free some space, or give another --out.',
    EACCES: 'Give a folder you may write to.',
    EROFS: 'Give a folder you may write to.',
    ENOTDIR: 'Give a folder, not a file.',
    EEXIST: 'Give a folder, not a file.',
    ENOENT: 'Give a folder in which folders can be made.',
  }
  if (cause.code === undefined) return error
  return new SignstepError('OUTPUT_FAILED', `cannot be written (${cause.message})`, {
    subject: path,
    cure: cures[cause.code],
    cause,
  })
}

function count<T extends Int32Array | Uint8Array>(array: T, test: (value: number, i: number) => boolean): number {
  let total = 0
  for (let i = 0; i < array.length; i++) if (test(array[i], i)) total++
  return total
}

const csvField = (text: string): string => (/[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text)
