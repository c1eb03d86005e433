import { readdir, readFile, realpath, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { DataError } from '../errors/index.js'
import { type Archive, isHidden, largestFile } from './archive.js'

/** The files below `root`; symbolic links are followed, except back into a folder that contains them. */
export async function openFolder(root: string): Promise<Archive> {
  const files: string[] = []
  await walk(root, '', new Set([await realpath(root)]), files)
  return {
    name: root,
    files,
    read: (file) => readImageFile(join(root, file)),
    close: async () => {},
  }
}

/** @throws DataError DATA_UNDECODABLE */
export async function readImageFile(path: string): Promise<Uint8Array> {
  try {
    const { size } = await stat(path)
    if (size <= largestFile) return await readFile(path)
  } catch (cause) {
    throw new DataError('DATA_UNDECODABLE', 'the file cannot be read', { subject: path, cause, found: `${cause}` })
  }
  throw new DataError('DATA_UNDECODABLE', 'the file is too large for an image', {
    subject: path,
    expected: `at most ${largestFile} bytes`,
  })
}

async function walk(root: string, folder: string, ancestors: ReadonlySet<string>, files: string[]): Promise<void> {
  for (const entry of await readdir(join(root, folder), { withFileTypes: true })) {
    if (isHidden(entry.name)) continue
    const file = folder === '' ? entry.name : `${folder}/${entry.name}`
    const path = join(root, file)
    const kind = entry.isSymbolicLink() ? await stat(path).catch(() => undefined) : entry
    if (kind?.isFile()) files.push(file)
    if (!kind?.isDirectory()) continue
    const real = entry.isSymbolicLink() ? await realpath(path) : path
    if (!ancestors.has(real)) await walk(root, file, new Set([...ancestors, real]), files)
  }
}
