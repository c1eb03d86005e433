import type { Dataset } from './dataset.js'

/** The data set made of the given samples, in their order. */
export function subset(dataset: Dataset, indices: ArrayLike<number>): Dataset {
  return {
    name: dataset.name,
    length: indices.length,
    classes: dataset.classes,
    labels: Int32Array.from(indices, (index) => dataset.labels[index]),
    imageShape: dataset.imageShape,
    file: (index) => dataset.file(indices[index]),
    read: (index, out) => dataset.read(indices[index], out),
    close: () => dataset.close(),
    [Symbol.asyncDispose]: () => dataset.close(),
  }
}

/**
 * The first `limit` samples of the interleaved order: the first sample of every class, classes in label order, then the
 * second of every class, and so on. Classes that run out are passed over.
 */
export function balancedSample(labels: Int32Array, limit: number): Int32Array {
  const seen = new Map<number, number>()
  const ranked = Array.from(labels, (label, index) => {
    const rank = seen.get(label) ?? 0
    seen.set(label, rank + 1)
    return { rank, label, index }
  })
  ranked.sort((a, b) => a.rank - b.rank || a.label - b.label)
  return Int32Array.from(ranked.slice(0, limit), ({ index }) => index)
}
