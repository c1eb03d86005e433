import { type FileHandle, open } from 'node:fs/promises'

/** A text file that grows by whole lines: where the disk is full in the middle of one, that one is taken back. */
export class LineFile {
  private readonly file: FileHandle
  private length = 0
  private closed = false

  private constructor(file: FileHandle) {
    this.file = file
  }

  static async create(path: string): Promise<LineFile> {
    return new LineFile(await open(path, 'w'))
  }

  async append(lines: string): Promise<void> {
    const bytes = Buffer.from(lines)
    try {
      for (let done = 0; done < bytes.length; )
        done += (await this.file.write(bytes, done, bytes.length - done, this.length + done)).bytesWritten
    } catch (error) {
      await this.file.truncate(this.length)
      throw error
    }
    this.length += bytes.length
  }

  async close(): Promise<void> {
    if (this.closed) return
    this.closed = true
    await this.file.close()
  }
}
