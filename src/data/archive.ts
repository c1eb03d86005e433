/** A tree of files to read from in any order: a folder or a zip. */
export interface Archive {
  readonly name: string
  /** Paths from the root with `/`, hidden files left out, in no particular order. */
  readonly files: readonly string[]
  read(file: string): Promise<Uint8Array>
  close(): Promise<void>
}

/** Dot-files, and what macOS adds to its zips. */
export const isHidden = (name: string): boolean => name.startsWith('.') || name === '__MACOSX'

/** One image file is refused beyond this size: a damaged or hostile archive must not exhaust the memory. */
export const largestFile = 256 * 2 ** 20
