import { RuntimeError } from '../../errors/index.js'
import { type NativeProgram, precisionCodes } from '../../native/index.js'
import type { AttackBatch, AttackState, Backend, CompileOptions, Program, ProgramGraphs } from '../program.js'
import { compilePlan } from './compile-plan.js'
import { EngineAttack } from './engine-attack.js'
import { awaited, isOutOfMemory, settled } from './native-failure.js'
import { describeDevice, type EngineDevice, type OpenDevice, openDevice } from './plugins.js'

/** Of the attack's passes; what is reported is scored in float32 accuracy whatever it is. */
export type Precision = keyof typeof precisionCodes

export interface EngineBackendOptions {
  readonly device: EngineDevice
  readonly precision?: Precision
}

/**
 * The backend of our own kernels: a program is lowered to a plan, which a plugin runs on a GPU or simulates.
 *
 * @throws RuntimeError DEVICE_UNAVAILABLE where the device cannot be had
 */
export async function engineBackend({ device, precision = 'bf16' }: EngineBackendOptions): Promise<Backend> {
  return new EngineBackend(device, precision, await openDevice(device))
}

class EngineBackend implements Backend {
  readonly name: 'cuda' | 'sim'
  readonly description: string
  readonly notes: string[] = []
  private readonly device: string
  private readonly precision: Precision
  private readonly open: OpenDevice
  private readonly programs = new Set<EngineProgram>()
  private disposed = false

  constructor(device: string, precision: Precision, open: OpenDevice) {
    this.name = open.plugin
    this.device = device
    this.precision = precision
    this.open = open
    this.description = `${describeDevice(open.info)}, ${precision}; ${open.plugin} plugin ${open.engine.version}`
  }

  async compile({ forward }: ProgramGraphs, options: CompileOptions): Promise<Program> {
    if (this.disposed) throw new RuntimeError('RUNTIME_FAILED', 'the model has been disposed of')
    const plan = compilePlan(forward, options)
    const native = await this.load(plan, options.batch)
    const program = new EngineProgram(native, options, this.device, () => this.programs.delete(program))
    if (this.disposed) {
      await program.dispose()
      throw new RuntimeError('RUNTIME_FAILED', 'the model has been disposed of')
    }
    this.programs.add(program)
    return program
  }

  /** Memory may be shared with others: half the batch, and half again, before giving up. */
  private async load(plan: Uint8Array, wanted: number): Promise<NativeProgram> {
    const { engine, index } = this.open
    for (let batch = wanted; ; batch = Math.floor(batch / 2)) {
      try {
        const program = await engine.loadProgram(plan, index, batch, precisionCodes[this.precision])
        if (batch < wanted)
          this.notes.push(`${this.device}: out of memory at a batch of ${wanted}, so it runs with ${batch}`)
        return program
      } catch (cause) {
        if (batch < 2 || !isOutOfMemory(cause))
          return awaited(() => Promise.reject(cause), this.device, 'loading the program')
      }
    }
  }

  async dispose(): Promise<void> {
    this.disposed = true
    await Promise.all([...this.programs].map((program) => program.dispose()))
  }
}

class EngineProgram implements Program {
  readonly imageShape: readonly [number, number, number]
  readonly classes: number
  readonly batch: number
  readonly loss: CompileOptions['loss']
  readonly targeted: boolean
  private readonly native: NativeProgram
  private readonly device: string
  private readonly onDispose: () => void
  private disposed: Promise<void> | undefined

  constructor(native: NativeProgram, { loss, targeted }: CompileOptions, device: string, onDispose: () => void) {
    const { channels, height, width, classes, batch } = native.info
    this.imageShape = [channels, height, width]
    this.classes = classes
    this.batch = batch
    this.loss = loss
    this.targeted = targeted
    this.native = native
    this.device = device
    this.onDispose = onDispose
  }

  async forward(images: Float32Array, count: number, signal?: AbortSignal): Promise<Float32Array> {
    this.refuseDisposed()
    const [c, h, w] = this.imageShape
    const given = images.subarray(0, count * c * h * w)
    return settled(() => this.native.forward(given), signal, this.device, 'the forward pass')
  }

  async begin({ images, labels, targets, sampleIndices, seed }: AttackBatch): Promise<AttackState> {
    this.refuseDisposed()
    const attack = await awaited(
      () => this.native.beginAttack(images, labels, targets, sampleIndices, BigInt(seed)),
      this.device,
      'the begin of the attack',
    )
    return new EngineAttack(attack, labels.length, this.device)
  }

  dispose(): Promise<void> {
    if (this.disposed === undefined) {
      this.onDispose()
      this.disposed = this.native.dispose()
    }
    return this.disposed
  }

  private refuseDisposed(): void {
    if (this.disposed !== undefined) throw new RuntimeError('RUNTIME_FAILED', 'the model has been disposed of')
  }
}
