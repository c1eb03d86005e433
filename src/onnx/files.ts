import { type FileHandle, open } from 'node:fs/promises'
import { ModelError } from '../errors/index.js'

/** libuv reads at most 2^31 - 1 bytes at once; smaller pieces leave other file work its turn. */
const PIECE = 1 << 28

/** Fills a new buffer, aligned to 8 bytes, from `position` on. Undefined where the file ends before. */
export async function readRange(file: FileHandle, position: number, length: number): Promise<Uint8Array | undefined> {
  const bytes = new Uint8Array(new ArrayBuffer(length))
  for (let done = 0; done < length; ) {
    const { bytesRead } = await file.read(bytes, done, Math.min(PIECE, length - done), position + done)
    if (bytesRead === 0) return undefined
    done += bytesRead
  }
  return bytes
}

/** @throws ModelError MODEL_NOT_FOUND, or MODEL_INVALID for a folder, an empty or an unreadable file. */
export async function readModelFile(path: string): Promise<Uint8Array> {
  let file: FileHandle
  try {
    file = await open(path, 'r')
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException
    if (code === 'ENOENT' || code === 'ENOTDIR') {
      throw new ModelError('MODEL_NOT_FOUND', 'there is no such file', {
        subject: path,
        cure: 'Check the path.',
        cause,
      })
    }
    throw unreadable(path, cause)
  }
  try {
    const stat = await file.stat()
    if (stat.isDirectory()) throw new ModelError('MODEL_INVALID', 'a folder, not an ONNX file', { subject: path })
    if (stat.size === 0) throw new ModelError('MODEL_INVALID', 'the file is empty', { subject: path })
    const bytes = await readRange(file, 0, stat.size)
    if (bytes === undefined) throw new ModelError('MODEL_INVALID', 'the file shrank while read', { subject: path })
    return bytes
  } catch (cause) {
    throw cause instanceof ModelError ? cause : unreadable(path, cause)
  } finally {
    await file.close()
  }
}

function unreadable(path: string, cause: unknown): ModelError {
  const found = cause instanceof Error ? cause.message : String(cause)
  return new ModelError('MODEL_INVALID', 'the file cannot be read', { subject: path, found, cause })
}
