import { type FileHandle, open, rename, rm, stat } from 'node:fs/promises'
import { SignstepError } from '../errors/index.js'

export interface WholeFile {
  readonly path: string
  readonly chunks: readonly Uint8Array[]
}

/**
 * Writes files that appear under their names only when all are whole on the disk, in the order given. `what` is named in errors.
 * @throws SignstepError OUTPUT_FAILED, leaving no partial file.
 */
export async function writeWhole(files: readonly WholeFile[], what: string): Promise<void> {
  const temporary = (target: string): string => `${target}.${process.pid}.tmp`
  for (const { path } of files) await refuseWhatIsNoFile(path, what)
  try {
    for (const { path, chunks } of files) await writeDurably(temporary(path), chunks)
    for (const { path } of files) await rename(temporary(path), path)
  } catch (cause) {
    await Promise.all(files.map(({ path }) => rm(temporary(path), { force: true }).catch(() => undefined)))
    throw new SignstepError('OUTPUT_FAILED', `${what} cannot be written`, {
      subject: files.at(-1)?.path,
      found: cause instanceof Error ? cause.message : String(cause),
      cure: 'Check that the folder exists, can be written to and has room.',
      cause,
    })
  }
}

/** The rename would put a file in the place of a device. */
async function refuseWhatIsNoFile(path: string, what: string): Promise<void> {
  const there = await stat(path).catch(() => undefined)
  if (there === undefined || there.isFile()) return
  throw new SignstepError('OUTPUT_FAILED', `${what} cannot be written`, {
    subject: path,
    expected: 'a new name, or that of a file to replace',
    found: there.isDirectory() ? 'a folder' : 'a device, pipe or socket',
    cure: 'Give the name of a file.',
  })
}

async function writeDurably(path: string, chunks: readonly Uint8Array[]): Promise<void> {
  const file: FileHandle = await open(path, 'w')
  try {
    for (const chunk of chunks) await writeAll(file, chunk)
    await file.sync()
  } finally {
    await file.close()
  }
}

/** One write takes at most 2^31 - 1 bytes and may take fewer than asked. */
async function writeAll(file: FileHandle, bytes: Uint8Array): Promise<void> {
  for (let done = 0; done < bytes.length; ) {
    const { bytesWritten } = await file.write(bytes, done, Math.min(1 << 28, bytes.length - done))
    done += bytesWritten
  }
}
