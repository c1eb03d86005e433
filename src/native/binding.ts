import type { EngineBinding } from './engine-binding.js'

/**
 * The addon's kernels. Images are [n, per] float32, row-major; per-sample vectors [n]. All calls are synchronous and use the addon's
 * thread pool: the attack loop calls them from its worker thread. Same bits on every instruction set and thread count. Exact
 * definitions, random numbers included: native/include/signstep/signstep.h.
 *
 * Wrong types, lengths and values throw a TypeError that names the argument, before anything is written.
 */
export interface Kernels {
  /** out = clamp(x0 + (2u − 1)·scale·eps, 0, 1), u from Philox4x32-10 keyed by (seed, sampleIndex, restart, element). */
  startUniform(
    out: Float32Array,
    x0: Float32Array,
    eps: Float32Array,
    scale: number,
    seed: bigint,
    sampleIndices: Int32Array,
    restart: number,
  ): void
  /** The same in the L2 ball (uniformly) or on its sphere: a Gaussian direction, clamped to [0,1]. */
  startL2(
    out: Float32Array,
    x0: Float32Array,
    eps: Float32Array,
    sphere: boolean,
    seed: bigint,
    sampleIndices: Int32Array,
    restart: number,
  ): void
  /** In place: x = clamp(project(x + direction·alpha·sign(g))). eps < 0 means no projection. Returns nothing; counts go to `nan` [n] and `zero` [n]. */
  stepLinf(
    x: Float32Array,
    x0: Float32Array,
    g: Float32Array,
    alpha: Float32Array,
    eps: Float32Array,
    direction: number,
    nan: Int32Array,
    zero: Uint8Array,
  ): void
  /**
   * In place: x += direction·alpha·g/max(‖g‖₂, 1e-12), projected onto the L2 ball around x0, clamped. NaN and infinite elements of g
   * move nothing and are counted.
   */
  stepL2(
    x: Float32Array,
    x0: Float32Array,
    g: Float32Array,
    alpha: Float32Array,
    eps: Float32Array,
    direction: number,
    nan: Int32Array,
    zero: Uint8Array,
  ): void
  /** momentum (in place) = decay·momentum + g/mean|g|, then the L∞ step along its sign. */
  stepMomentum(
    x: Float32Array,
    x0: Float32Array,
    g: Float32Array,
    momentum: Float32Array,
    alpha: Float32Array,
    eps: Float32Array,
    decay: number,
    direction: number,
    nan: Int32Array,
    zero: Uint8Array,
  ): void
  /** Per-sample norms of a − b: linf [n], l2 [n]. */
  distances(a: Float32Array, b: Float32Array, linf: Float32Array, l2: Float32Array): void
  setThreads(count: number): void
  threads(): number
}

export interface Binding extends Kernels, EngineBinding {
  version(): string
  /** 'avx512' | 'avx2' | 'neon' | 'scalar': what the running processor was given. */
  instructionSet(): string
  /** Forces a lesser instruction set, for tests. Throws if the processor lacks it. */
  setInstructionSet(name: string): void
  /**
   * stepLinf on the device's job thread, so that the event loop stays free. Jobs run in the order of submission. cancel() is polled
   * every 16,384 elements and rejects the promise with code 'ABORTED'; x is then moved in part. Until the promise is settled the arrays
   * must not be changed or transferred; alpha and eps are copied.
   */
  stepLinfAsync(
    x: Float32Array,
    x0: Float32Array,
    g: Float32Array,
    alpha: Float32Array,
    eps: Float32Array,
    direction: number,
  ): { promise: Promise<void>; cancel(): void }
  /** The C function table, a type-tagged External, for other addons. */
  readonly capi: object
}
