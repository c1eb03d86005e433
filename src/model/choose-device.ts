import { forwardGraph, type Preprocess } from '../autodiff/index.js'
import {
  type Backend,
  compileProgram,
  type EngineDevice,
  engineBackend,
  ortBackend,
  type Precision,
  parseDevice,
} from '../backend/index.js'
import { checkChoice, OptionError, SignstepError } from '../errors/index.js'
import type { Graph } from '../graph/index.js'
import { loadNative } from '../native/index.js'

/** `auto` takes a GPU where there is one and our kernels cover the model, else the processor. */
export type Device = 'auto' | 'cpu' | EngineDevice

export interface DeviceOptions {
  readonly device?: Device
  /** Of the attack's passes: `bf16` unless said otherwise on cuda and sim, `float32` on the processor, which may have `bf16` too. */
  readonly precision?: Precision
  /** Processor threads. Default: all cores the process may use. */
  readonly threads?: number
}

export interface ChosenDevice {
  readonly backend: Backend
  /** Set where `auto` chose: what, and why. */
  readonly note: string | undefined
}

/** Throws OptionError OPTION_INVALID for a device or precision that is none, or that do not go together. */
export function checkDevice({ device = 'auto', precision }: DeviceOptions): void {
  if (device !== 'auto' && device !== 'cpu' && parseDevice(String(device)) === undefined)
    throw new OptionError('OPTION_INVALID', 'is no device', {
      subject: 'device',
      expected: 'auto, cpu, cuda, cuda:1 … or sim',
      found: `'${String(device)}'`,
    })
  checkChoice(precision, ['bf16', 'fp16', 'float32', 'fp8'], 'precision')
  if (device === 'cpu' && isOfGpus(precision))
    throw new OptionError('OPTION_INVALID', 'is not to be had on the processor', {
      subject: 'precision',
      expected: 'float32 or bf16',
      found: `'${precision}'`,
      cure: 'Leave it out, or use --device cuda.',
    })
}

/** What no processor has. */
const isOfGpus = (precision: Precision | undefined): boolean => precision === 'fp16' || precision === 'fp8'

/**
 * The backend for a model. A device that was asked for by name is had or refused; only `auto` may settle for another.
 *
 * @throws RuntimeError DEVICE_UNAVAILABLE, RUNTIME_MISSING
 */
export async function chooseDevice(
  graph: Graph,
  preprocess: Preprocess,
  options: DeviceOptions,
): Promise<ChosenDevice> {
  const { device = 'auto', precision, threads } = options
  if (device === 'cpu') return { backend: await processor(options), note: undefined }
  if (device !== 'auto') return { backend: await engineBackend({ device, precision }), note: undefined }
  let backend: Backend | undefined
  try {
    backend = await engineBackend({ device: 'cuda', precision })
    // Lowering is quick and needs no device; what it does not cover is a reason to look elsewhere, not a failure.
    compileProgram(forwardGraph(graph, preprocess), { loss: 'cross-entropy', targeted: false })
    return { backend, note: `device cuda: ${backend.description}` }
  } catch (error) {
    await backend?.dispose()
    // A precision that was asked for is had or refused, like a device.
    if (!(error instanceof SignstepError) || isOfGpus(precision)) throw error
    const cpu = await processor({ precision, threads })
    return { backend: cpu, note: `device cpu: ${cpu.description}; not cuda: ${reason(error)}` }
  }
}

/** In bf16 our own kernels, else ONNX Runtime. */
async function processor({ precision, threads }: DeviceOptions): Promise<Backend> {
  if (precision !== 'bf16') return ortBackend({ threads })
  if (threads !== undefined) loadNative().setThreads(threads)
  return engineBackend({ device: 'cpu', precision })
}

/** What was expected and found; how to mend it is for those who asked for the device by name. */
function reason({ message, fault: { cure } }: SignstepError): string {
  const text = cure !== undefined && message.endsWith(`. ${cure}`) ? message.slice(0, -cure.length - 2) : message
  return text.replace(/^cuda: /, '')
}
