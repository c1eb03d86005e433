import type { NdArray } from '#signstep/interpreter/index.js'

/** A small reproducible generator (mulberry32), uniform in [0,1). */
export function randomNumbers(seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let t = state
    t = Math.imul(t ^ (t >>> 15), t | 1)
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61)
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32
  }
}

/** Uniform in [low, high). */
export function randomArray(random: () => number, shape: readonly number[], low = -1, high = 1): NdArray {
  const size = shape.reduce((a, b) => a * b, 1)
  return { dtype: 'float32', shape, data: Float64Array.from({ length: size }, () => low + (high - low) * random()) }
}
