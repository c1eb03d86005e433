/** A set of labelled images that is read on demand: nothing is decoded before a batch asks for it. */
export interface Dataset {
  /** The path it was opened from, or 'array'. */
  readonly name: string
  readonly length: number
  /** Class names in label order; empty where the format carries none. */
  readonly classes: readonly string[]
  readonly labels: Int32Array
  /** The source of sample i, for samples.csv: an entry's path, or `name#i`. */
  file(index: number): string
  /** [C,H,W] of every image, after resize and crop. */
  readonly imageShape: readonly [number, number, number]
  /** Decodes one sample into `out` (length C·H·W): float32, CHW, RGB, [0,1]. Throws DataError DATA_UNDECODABLE naming the file. */
  read(index: number, out: Float32Array): Promise<void>
  close(): Promise<void>
  [Symbol.asyncDispose](): Promise<void>
}

/** One batch in the order of the data set. The buffers are the receiver's to keep. */
export interface Batch {
  /** Positions in the data set; they key the random numbers of attacks. */
  readonly indices: Int32Array
  readonly images: Float32Array
  readonly labels: Int32Array
}
