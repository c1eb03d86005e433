/**
 * The size of an axis: a number, or a multiple of the batch size N. Nothing else stays symbolic: height and width are fixed when a
 * model is imported, so every shape of an image model comes down to these two.
 */
export type Dim = number | BatchDim

/** `factor`·N. */
export interface BatchDim {
  readonly factor: number
}

export const N: BatchDim = { factor: 1 }

export const isBatch = (dim: Dim): dim is BatchDim => typeof dim === 'object'
export const batchDim = (factor: number): Dim => (factor === 0 ? 0 : { factor })

export function sameDim(a: Dim, b: Dim): boolean {
  return isBatch(a) ? isBatch(b) && a.factor === b.factor : a === b
}

export function sameShape(a: readonly Dim[], b: readonly Dim[]): boolean {
  return a.length === b.length && a.every((dim, i) => sameDim(dim, b[i]))
}

/** The product of two sizes, or undefined where it would hold N². */
export function multiplyDims(a: Dim, b: Dim): Dim | undefined {
  if (isBatch(a)) return isBatch(b) ? undefined : batchDim(a.factor * b)
  return isBatch(b) ? batchDim(a * b.factor) : a * b
}

/** a / b where it comes out even whatever N is, else undefined. */
export function divideDims(a: Dim, b: Dim): Dim | undefined {
  const [x, y] = [isBatch(a) ? a.factor : a, isBatch(b) ? b.factor : b]
  if (y === 0 || x % y !== 0 || (isBatch(b) && !isBatch(a))) return undefined
  return isBatch(a) && !isBatch(b) ? batchDim(x / y) : x / y
}

export function addDims(a: Dim, b: Dim): Dim | undefined {
  if (a === 0) return b
  if (b === 0) return a
  if (isBatch(a) !== isBatch(b)) return undefined
  return isBatch(a) ? batchDim(a.factor + (b as BatchDim).factor) : a + (b as number)
}

export const sizeAt = (dim: Dim, batch: number): number => (isBatch(dim) ? dim.factor * batch : dim)
export const showDim = (dim: Dim): string => (isBatch(dim) ? (dim.factor === 1 ? 'N' : `${dim.factor}N`) : String(dim))
export const showShape = (shape: readonly Dim[]): string => `[${shape.map(showDim).join(',')}]`
