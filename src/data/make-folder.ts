import { mkdir, stat } from 'node:fs/promises'
import { dirname } from 'node:path'

/**
 * Makes a folder and those above it; true where it was not there before. Not mkdir's own recursion: that never ends where a file system
 * answers ENOENT to new folders, as /proc does.
 */
export async function makeFolder(path: string): Promise<boolean> {
  const parent = dirname(path)
  try {
    return await makeOne(path)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT' || parent === path) throw error
  }
  await makeFolder(parent)
  return makeOne(path)
}

async function makeOne(path: string): Promise<boolean> {
  try {
    await mkdir(path)
    return true
  } catch (error) {
    const isFolder = (await stat(path).catch(() => undefined))?.isDirectory() === true
    if (isFolder) return false
    throw error
  }
}
