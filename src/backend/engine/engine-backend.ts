import { RuntimeError } from '../../errors/index.js'
import { type NativeProgram, precisionCodes } from '../../native/index.js'
import type { AttackBatch, AttackState, Backend, CompileOptions, Program, ProgramGraphs } from '../program.js'
import { compilePlan } from './compile-plan.js'
import { EngineAttack } from './engine-attack.js'
import { awaited, isOutOfMemory, settled } from './native-failure.js'
import {
  describeDevice,
  type EngineDevice,
  foldsNorms,
  type OpenDevice,
  openDevices,
  type PluginName,
  type Precision,
  precisionsOf,
} from './plugins.js'
import { ShardedProgram } from './sharded-program.js'

export interface EngineBackendOptions {
  readonly device: EngineDevice
  readonly precision?: Precision
}

/**
 * The backend of our own kernels: a program is lowered to a plan, which a plugin runs on a GPU or simulates. Where the device's name means
 * several GPUs, every batch is shared out among them.
 *
 * @throws RuntimeError DEVICE_UNAVAILABLE where the device, or the precision on it, cannot be had
 */
export async function engineBackend({ device, precision = 'bf16' }: EngineBackendOptions): Promise<Backend> {
  const devices = await openDevices(device)
  for (const opened of devices) requirePrecision(precision, opened)
  return new EngineBackend(precision, devices)
}

function requirePrecision(precision: Precision, device: OpenDevice): void {
  const offered = precisionsOf(device.info)
  if (offered.includes(precision)) return
  throw new RuntimeError('DEVICE_UNAVAILABLE', `has no kernels for precision ${precision}`, {
    subject: nameOf(device),
    expected: offered.join(', '),
    found: describeDevice(device.info),
    cure: precision === 'fp8' ? 'Use --precision bf16: fp8 needs compute capability 8.9, 9.0 or 12.x.' : undefined,
  })
}

class EngineBackend implements Backend {
  readonly name: PluginName
  readonly description: string
  readonly eager = true
  readonly notes: string[] = []
  private readonly precision: Precision
  private readonly devices: readonly OpenDevice[]
  private readonly programs = new Set<EngineProgram>()
  private disposed = false

  constructor(precision: Precision, devices: readonly OpenDevice[]) {
    const [{ plugin, engine }] = devices
    this.name = plugin
    this.precision = precision
    this.devices = devices
    const named = [...new Set(devices.map(({ info }) => describeDevice(info)))].join(', ')
    const count = devices.length === 1 ? '' : `${devices.length} devices: `
    this.description = `${count}${named}, ${precision}; ${plugin} plugin ${engine.version}`
  }

  async compile({ forward }: ProgramGraphs, options: CompileOptions): Promise<Program> {
    if (this.disposed) throw new RuntimeError('RUNTIME_FAILED', 'the model has been disposed of')
    const plan = compilePlan(forward, { ...options, foldNorms: foldsNorms(this.name) })
    // One after the other: a failure leaves nothing half loaded behind.
    const shards: EngineProgram[] = []
    try {
      for (const device of this.devices) shards.push(await this.load(plan, device, options))
    } catch (error) {
      await Promise.all(shards.map((shard) => shard.dispose()))
      throw error
    }
    return shards.length === 1 ? shards[0] : new ShardedProgram(shards)
  }

  private async load(plan: Uint8Array, device: OpenDevice, options: CompileOptions): Promise<EngineProgram> {
    const native = await this.loadWhatFits(plan, device, Math.ceil(options.batch / this.devices.length))
    const program = new EngineProgram(native, options, nameOf(device), () => this.programs.delete(program))
    if (this.disposed) {
      await program.dispose()
      throw new RuntimeError('RUNTIME_FAILED', 'the model has been disposed of')
    }
    this.programs.add(program)
    return program
  }

  /** Memory may be shared with others: half the batch, and half again, before giving up. */
  private async loadWhatFits(plan: Uint8Array, device: OpenDevice, wanted: number): Promise<NativeProgram> {
    const { engine, index } = device
    for (let batch = wanted; ; batch = Math.floor(batch / 2)) {
      try {
        const program = await engine.loadProgram(plan, index, batch, precisionCodes[this.precision])
        if (batch < wanted)
          this.notes.push(`${nameOf(device)}: out of memory at a batch of ${wanted}, so it runs with ${batch}`)
        return program
      } catch (cause) {
        if (batch < 2 || !isOutOfMemory(cause))
          return awaited(() => Promise.reject(cause), nameOf(device), 'loading the program')
      }
    }
  }

  async dispose(): Promise<void> {
    this.disposed = true
    await Promise.all([...this.programs].map((program) => program.dispose()))
  }
}

/** As it is asked for by name. */
const nameOf = ({ plugin, index, engine }: OpenDevice): string =>
  engine.deviceCount === 1 ? plugin : `${plugin}:${index}`

class EngineProgram implements Program {
  readonly imageShape: readonly [number, number, number]
  readonly classes: number
  readonly batch: number
  readonly loss: CompileOptions['loss']
  readonly targeted: boolean
  readonly wholeAttacks: boolean
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
    this.wholeAttacks = device.startsWith('cuda')
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

  async begin({ images, labels, targets, referenceLogits, sampleIndices, seed }: AttackBatch): Promise<AttackState> {
    this.refuseDisposed()
    const attack = await awaited(
      () => this.native.beginAttack(images, labels, targets, sampleIndices, BigInt(seed), referenceLogits),
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
