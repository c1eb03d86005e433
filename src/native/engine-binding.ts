/**
 * The addon's engines: whole kernel programs on a device, through native/include/signstep/engine.h. The work runs on a thread of its own a
 * program, in the order of the calls, and never blocks the event loop; beginAttack does not wait in that line but sends its batch meanwhile.
 * Arrays handed in must not be changed until the promise is settled.
 *
 * Arguments of a wrong type or length throw a TypeError at once. Promises are rejected with a `code`: 'ABORTED', 'INVALID' (an argument, a
 * plan), 'UNSUPPORTED' (plugin, device) or 'RUNTIME_FAILED'. What is forgotten is freed with the garbage, and at the end of the
 * environment; what is under way then is cancelled, not waited for.
 */
export interface EngineBinding {
  /** Opens libsignstep_<name>-<version>.so beside the core library. Looks for devices, which may take a second. */
  openEngine(name: string): Promise<NativeEngine>
}

/** Work that can be called back: the promise is then rejected with code 'ABORTED', between two launches at the latest. */
export interface NativeJob<T> {
  readonly promise: Promise<T>
  cancel(): void
}

export interface NativeEngine {
  readonly name: string
  /** signstep's and the toolkit's. */
  readonly version: string
  readonly deviceCount: number
  /** Why there is no device; empty where there is one. */
  readonly why: string
  deviceInfo(device: number): Promise<DeviceInfo>
  /** `batch` 0: what free memory allows, at most 256. `precision`: see precisionCodes. */
  loadProgram(plan: Uint8Array, device: number, batch: number, precision: number): Promise<NativeProgram>
  /** Device memory held by this plugin in this process: 0 once all is freed. */
  allocatedBytes(): number
}

export interface DeviceInfo {
  readonly name: string
  /** 90 for 9.0. */
  readonly computeCapability: number
  readonly multiprocessors: number
  /** Bytes. */
  readonly memory: number
  readonly freeMemory: number
  /** Bit p: the device has the precision of code p. */
  readonly precisions: number
}

export const precisionCodes = { bf16: 0, fp16: 1, float32: 2, fp8: 3 } as const
export const startCodes = { clean: 0, uniform: 1, ball: 2, sphere: 3 } as const
export const ruleCodes = { linf: 0, l2: 1, momentum: 2 } as const

export interface NativeProgram {
  readonly info: {
    readonly channels: number
    readonly height: number
    readonly width: number
    readonly classes: number
    /** The largest number of images of one call. */
    readonly batch: number
    readonly precision: number
    readonly targeted: boolean
    /** Weights and activations. */
    readonly deviceBytes: number
  }
  /** Logits [n, classes] of images [n,C,H,W], float32 accuracy whatever the precision. */
  forward(images: Float32Array): NativeJob<Float32Array>
  beginAttack(
    images: Float32Array,
    labels: Int32Array,
    targets: Int32Array | undefined,
    sampleIndices: Int32Array,
    seed: bigint,
    /** [n, classes], where the program's loss is KL. */
    referenceLogits?: Float32Array,
  ): Promise<NativeAttack>
  /** Frees it and the attacks on it, after the work under way. */
  dispose(): Promise<void>
}

/** n: the images still under attack. Per-image arrays have that length. */
export interface NativeAttack {
  start(kind: number, eps: Float32Array, scale: number, restart: number): Promise<void>
  /**
   * `steps` gradients and moves in one launch; results are [steps, n]. Without eps nothing is projected. With `retire` samples leave when
   * they are fooled: step i then tells of left[i − 1] samples at the beginning of its row, and no other call may be made before the promise is
   * settled. If it fails or is cancelled, such an attack has ended.
   */
  steps(
    rule: number,
    alpha: Float32Array,
    eps: Float32Array | undefined,
    decay: number,
    direction: number,
    steps: number,
    retire: boolean,
    remember: boolean,
  ): NativeJob<{
    readonly loss: Float32Array
    readonly predictions: Int32Array
    readonly nanGradients: Int32Array
    readonly zeroGradients: Uint8Array
    /** [steps]: samples under attack after each. */
    readonly left: Int32Array
  }>
  /** Of the current iterate, float32 accuracy. */
  score(): NativeJob<{ readonly loss: Float32Array; readonly predictions: Int32Array; readonly logits: Float32Array }>
  images(rows?: Int32Array): Promise<Float32Array>
  best(): Promise<{ readonly images: Float32Array; readonly loss: Float32Array }>
  gradient(): NativeJob<Float32Array>
  /** Where samples were finished, by their positions in the batch as it was begun. */
  finished(positions: Int32Array): Promise<Float32Array>
  dispose(): Promise<void>
}
