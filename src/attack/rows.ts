import type { AttackResult } from './types.js'

export type Writable<T> = { -readonly [K in keyof T]: T[K] }

export function emptyResult(n: number, per: number, steps: number): Writable<AttackResult> {
  return {
    images: new Float32Array(n * per),
    success: new Uint8Array(n),
    predictions: new Int32Array(n),
    loss: new Float32Array(n),
    linf: new Float32Array(n),
    l2: new Float32Array(n),
    correctAfterStep: new Int32Array(steps + 1),
    gradientCalls: 0,
    nanGradients: 0,
    zeroGradients: 0,
  }
}

/** Puts the result of some rows in their place, and adds up what is counted. */
export function addRows(all: Writable<AttackResult>, rows: AttackResult, from: number, per: number): void {
  all.images.set(rows.images, from * per)
  for (const key of ['success', 'predictions', 'loss', 'linf', 'l2'] as const) all[key].set(rows[key], from)
  for (const [k, count] of rows.correctAfterStep.entries()) all.correctAfterStep[k] += count
  all.gradientCalls += rows.gradientCalls
  all.nanGradients += rows.nanGradients
  all.zeroGradients += rows.zeroGradients
}
