import { DataError } from '../errors/index.js'
import type { Target } from './types.js'

/** Rules by which a target can be chosen. */
export const targetWords = ['random', 'least-likely', 'second'] as const

/**
 * Target classes [n]: as given, or chosen per sample from the clean logits [n, classes]. `random` is uniform over the wrong classes and
 * depends on seed and sample index alone.
 */
export function chooseTargets(
  target: Target,
  logits: Float32Array | undefined,
  labels: Int32Array,
  classes: number,
  seed: number,
  sampleIndices: Int32Array,
): Int32Array {
  if (typeof target === 'number' || target instanceof Int32Array) {
    const given = typeof target === 'number' ? new Int32Array(labels.length).fill(target) : target
    const bad = given.find((t) => t < 0 || t >= classes)
    if (bad !== undefined)
      throw new DataError('DATA_CLASSES', 'no such class', {
        subject: 'target',
        expected: `0 to ${classes - 1}`,
        found: String(bad),
      })
    return given
  }
  return Int32Array.from(labels, (label, i) => {
    if (target === 'random') return (label + 1 + (hash(seed, sampleIndices[i]) % (classes - 1))) % classes
    const row = logits?.subarray(i * classes, (i + 1) * classes) ?? new Float32Array(classes)
    const order = Array.from(row.keys()).filter((k) => k !== label)
    return order.reduce((best, k) => ((target === 'second' ? row[k] > row[best] : row[k] < row[best]) ? k : best))
  })
}

/** A well-mixed 32-bit number (the finaliser of MurmurHash3, twice). */
function hash(seed: number, index: number): number {
  const mix = (x: number): number => {
    let h = x >>> 0
    h = Math.imul(h ^ (h >>> 16), 0x85ebca6b)
    h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35)
    return (h ^ (h >>> 16)) >>> 0
  }
  return mix(mix(seed ^ 0x9e3779b9) + index)
}
