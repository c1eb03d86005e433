import type { LossName } from '../../autodiff/index.js'
import type { ErrorCode, Fault } from '../../errors/index.js'
import type { BestIterates, Scores, StartRule, StepResult, StepRule } from '../program.js'

/** What the worker is asked to do; buffers travel by transfer. Calls are served one after the other, in the order they come. */
export interface Calls {
  /** Makes a session of an encoded ONNX model. */
  session: (call: { session: number; bytes: Uint8Array }) => undefined
  /** Logits of images [n,C,H,W]. */
  forward: (call: { session: number; images: Float32Array; shape: readonly number[] }) => Float32Array
  begin: (call: {
    state: number
    images: Float32Array
    labels: Int32Array
    targets: Int32Array | undefined
    referenceLogits: Float32Array | undefined
    sampleIndices: Int32Array
    seed: number
    imageShape: readonly number[]
    classes: number
    loss: LossName
  }) => undefined
  start: (call: { state: number; rule: StartRule }) => undefined
  /** `kept`: rows of the samples under attack after it, where any retired. */
  step: (call: {
    state: number
    session: number
    rule: StepRule
    retire: boolean
    remember: boolean
  }) => StepResult & { kept: Int32Array | undefined }
  score: (call: { state: number; session: number }) => Scores
  images: (call: { state: number; rows: Int32Array | undefined }) => Float32Array
  best: (call: { state: number }) => BestIterates
  gradient: (call: { state: number; session: number }) => Float32Array
  finished: (call: { state: number; positions: Int32Array }) => Float32Array
  /** Frees a session or the buffers of a state. */
  release: (call: { session?: number; state?: number }) => undefined
  close: (call: object) => undefined
}

export type CallName = keyof Calls
export type Argument<K extends CallName> = Parameters<Calls[K]>[0]
export type Result<K extends CallName> = ReturnType<Calls[K]>

export interface Request {
  readonly id: number
  readonly call: CallName
  readonly argument: object
}

export interface Failure {
  readonly code: ErrorCode
  readonly message: string
  readonly fault: Fault
}

export type Reply =
  | { readonly id: number; readonly value: unknown }
  | { readonly id: number; readonly failure: Failure }

/**
 * Two flags that both threads see. A process that exits while ONNX Runtime runs would abort (its binding throws into a thread that is
 * being torn down), so the main thread's exit waits for the run under way, and the worker starts no other.
 */
export const RUNNING = 0
export const LEAVING = 1
