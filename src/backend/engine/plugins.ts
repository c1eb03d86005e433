import { OptionError, RuntimeError } from '../../errors/index.js'
import { type DeviceInfo, loadNative, type NativeEngine, precisionCodes } from '../../native/index.js'
import { awaited } from './native-failure.js'

/**
 * `cuda` is all GPUs of the machine, `cuda:1` the second alone; `sim` runs the same kernels in a simulator on the
 * processor, `cpu` runs the program in kernels for the processor itself.
 */
export type EngineDevice = 'cuda' | `cuda:${number}` | 'sim' | `sim:${number}` | 'cpu'

export type PluginName = 'cuda' | 'sim' | 'cpu'

/**
 * Whether LayerNorms are folded into products: a GPU saves the traffic of their results. A processor finds these in its caches, and the
 * folded gradient of a ViT-S took 2 % longer there.
 */
export const foldsNorms = (plugin: PluginName): boolean => plugin !== 'cpu'

export interface OpenDevice {
  readonly plugin: PluginName
  readonly engine: NativeEngine
  readonly index: number
  readonly info: DeviceInfo
}

/** Plugin and number of a device's name (no number: all of them); undefined for a name that is none of an engine. */
export function parseDevice(device: string): { plugin: PluginName; index: number | undefined } | undefined {
  const found = /^(cuda|sim|cpu)(?::(\d{1,3}))?$/.exec(device)
  if (found === null) return undefined
  return { plugin: found[1] as PluginName, index: found[2] === undefined ? undefined : Number(found[2]) }
}

/**
 * Opens the plugin and finds the device, or all devices where none is named.
 *
 * @throws RuntimeError DEVICE_UNAVAILABLE, which says why: no plugin, no driver, no such GPU
 */
export async function openDevices(device: EngineDevice): Promise<OpenDevice[]> {
  const parsed = parseDevice(device)
  if (parsed === undefined)
    throw new OptionError('OPTION_INVALID', 'is no device', {
      subject: String(device),
      expected: 'cuda, cuda:1 … or sim',
    })
  const { plugin, index } = parsed
  let engine: NativeEngine
  try {
    engine = await loadNative().openEngine(plugin)
  } catch (cause) {
    if (cause instanceof RuntimeError) throw cause
    throw new RuntimeError('DEVICE_UNAVAILABLE', (cause as Error).message.replace(/^plugin \w+: /, ''), {
      subject: device,
      cure:
        plugin === 'cuda'
          ? 'Use --device cpu, or build the plugin: scripts/cuda-toolkit, then npm run build:native.'
          : 'Run npm run build:native.',
      cause,
    })
  }
  if (engine.deviceCount === 0)
    throw new RuntimeError('DEVICE_UNAVAILABLE', 'no device', {
      subject: device,
      found: engine.why,
      cure: plugin === 'cpu' ? 'Use --precision float32 on this machine.' : 'Use --device cpu on this machine.',
    })
  if (index !== undefined && index >= engine.deviceCount)
    throw new RuntimeError('DEVICE_UNAVAILABLE', 'no such device', {
      subject: device,
      expected: engine.deviceCount === 1 ? `${plugin}:0` : `${plugin}:0 to ${plugin}:${engine.deviceCount - 1}`,
    })
  const numbers = index === undefined ? Array.from({ length: engine.deviceCount }, (_, i) => i) : [index]
  const found = await Promise.all(
    numbers.map(async (own) => ({
      plugin,
      engine,
      index: own,
      info: await awaited(() => engine.deviceInfo(own), device, 'looking at the device'),
    })),
  )
  const capable = found.filter(({ info }) => plugin === 'cpu' || info.computeCapability >= LOWEST_CAPABILITY)
  if (capable.length > 0) return capable
  throw new RuntimeError('DEVICE_UNAVAILABLE', 'the GPU is too old', {
    subject: device,
    expected: `compute capability ${capabilityText(LOWEST_CAPABILITY)} or later`,
    found: describeDevice(found[0].info),
    cure: 'Use --device cpu on this machine.',
  })
}

/** 10 times the version: what our kernels are written for, products of bf16 and copies beside the work. */
const LOWEST_CAPABILITY = 80
const capabilityText = (capability: number): string => `${Math.floor(capability / 10)}.${capability % 10}`

/** Of the attack's passes; what is reported is scored in float32 accuracy whatever it is. */
export type Precision = keyof typeof precisionCodes

/** What the device has kernels for. */
export function precisionsOf({ precisions }: DeviceInfo): Precision[] {
  const names = Object.keys(precisionCodes) as Precision[]
  return names.filter((name) => (precisions >> precisionCodes[name]) & 1)
}

/** As people say it: "NVIDIA H100 80GB HBM3 (compute capability 9.0, 132 multiprocessors, 79.1 GiB)". */
export function describeDevice({ name, computeCapability, multiprocessors, memory }: DeviceInfo): string {
  const gibibytes = (memory / 2 ** 30).toFixed(1)
  if (computeCapability === 0) return `${name} (${multiprocessors} threads, ${gibibytes} GiB)`
  const capability = capabilityText(computeCapability)
  return `${name} (compute capability ${capability}, ${multiprocessors} multiprocessors, ${gibibytes} GiB)`
}
