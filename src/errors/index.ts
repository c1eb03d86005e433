/**
 * Every failure signstep reports. `code` is stable and documented in docs/troubleshooting.md; the message names what is at
 * fault, what was expected, what was found and how to mend it.
 */
export type ErrorCode =
  | 'MODEL_NOT_FOUND'
  | 'MODEL_INVALID' // not a protobuf, truncated, inconsistent
  | 'MODEL_EXTERNAL_DATA'
  | 'MODEL_UNSUPPORTED' // valid ONNX that signstep does not take: rank, dynamic axes, control flow, no image input
  | 'OPERATOR_UNSUPPORTED' // the importer, the interpreter or shape inference does not know it
  | 'OPERATOR_NO_GRADIENT'
  | 'SHAPE_MISMATCH'
  | 'DATA_NOT_FOUND'
  | 'DATA_INVALID'
  | 'DATA_UNDECODABLE'
  | 'DATA_CLASSES' // labels do not fit the logits
  | 'OPTION_UNKNOWN'
  | 'OPTION_INVALID'
  | 'RUNTIME_MISSING' // onnxruntime-node or the addon cannot be loaded
  | 'RUNTIME_FAILED'
  | 'OUT_OF_MEMORY' // of the device, for a batch of one too
  | 'DEVICE_UNAVAILABLE'
  | 'NUMERIC' // NaN or infinite logits, weights or losses
  | 'OUTPUT_FAILED' // a result cannot be written
  | 'ABORTED'

export interface Fault {
  /** The file, node or option at fault. */
  readonly subject?: string
  readonly expected?: string
  readonly found?: string
  /** How to mend it, an imperative sentence. */
  readonly cure?: string
  readonly cause?: unknown
}

export class SignstepError extends Error {
  override readonly name: string = 'SignstepError'
  readonly code: ErrorCode
  readonly fault: Fault

  constructor(code: ErrorCode, message: string, fault: Fault = {}) {
    const parts = [fault.subject === undefined ? message : `${fault.subject}: ${message}`]
    if (fault.expected !== undefined) parts.push(`expected ${fault.expected}`)
    if (fault.found !== undefined) parts.push(`found ${fault.found}`)
    const text = parts.join('; ')
    super(fault.cure === undefined ? text : `${text}. ${fault.cure}`, { cause: fault.cause })
    this.code = code
    this.fault = fault
  }
}

/** A model file cannot be read, understood or differentiated. */
export class ModelError extends SignstepError {
  override readonly name = 'ModelError'
}

/** Images or labels cannot be read or do not fit the model. */
export class DataError extends SignstepError {
  override readonly name = 'DataError'
}

/** An option is unknown or out of its range. The command line exits with 2. */
export class OptionError extends SignstepError {
  override readonly name = 'OptionError'
}

/** The runtime under signstep is missing or failed. */
export class RuntimeError extends SignstepError {
  override readonly name = 'RuntimeError'
}

/** Work was cancelled through an AbortSignal. */
export class AbortedError extends SignstepError {
  override readonly name = 'AbortedError'
  constructor(what: string, cause?: unknown) {
    super('ABORTED', `${what} was aborted`, { cause })
  }
}

export function throwIfAborted(signal: AbortSignal | undefined, what: string): void {
  if (signal?.aborted) throw new AbortedError(what, signal.reason)
}
export { checkChoice, checkWhole, refuseUnknownOptions } from './check-options.js'
export { nearest } from './nearest.js'
