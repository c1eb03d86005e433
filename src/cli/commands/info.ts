import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { availableParallelism, cpus, totalmem } from 'node:os'
import { describeDevice, openDevices, precisionsOf } from '../../backend/index.js'
import { type DeviceInfo, loadNative, nativePath } from '../../native/index.js'
import { packageVersion } from '../version.js'

interface Info {
  readonly signstep: string
  readonly node: string
  readonly platform: string
  readonly processor: string
  readonly memoryGiB: number
  readonly addon: { readonly file?: string; readonly instructionSet?: string; readonly error?: string }
  readonly onnxruntime: { readonly version?: string; readonly error?: string }
  readonly sharp: { readonly version?: string; readonly error?: string }
  readonly devices: readonly { readonly name: string; readonly usable: boolean; readonly why: string }[]
}

/** `signstep info`: what is installed, what was loaded, what is not used and why. Loads no model and not ONNX Runtime. */
export async function infoCommand(options: Record<string, unknown>): Promise<number> {
  const info = await gather()
  process.stdout.write(options.json ? `${JSON.stringify(info, null, 2)}\n` : render(info))
  return 0
}

async function gather(): Promise<Info> {
  const onnxruntime = installed('onnxruntime-node', 'npm install onnxruntime-node')
  return {
    signstep: packageVersion(),
    node: process.version,
    platform: `${process.platform}-${process.arch}`,
    processor: `${cpus()[0]?.model.trim() ?? 'unknown'}, ${availableParallelism()} threads`,
    memoryGiB: Math.round((totalmem() / 2 ** 30) * 10) / 10,
    addon: addon(),
    onnxruntime,
    sharp: installed('sharp', 'npm install sharp'),
    devices: [
      {
        name: 'cpu',
        usable: onnxruntime.version !== undefined,
        why: onnxruntime.version ? `in float32, ONNX Runtime ${onnxruntime.version}` : (onnxruntime.error ?? ''),
      },
      ...(await engineDevices('cpu')),
      ...(await engineDevices('cuda')),
      ...(await engineDevices('sim')),
    ],
  }
}

/** One line a device, or one that says why there is none. */
async function engineDevices(plugin: 'cuda' | 'sim' | 'cpu'): Promise<Info['devices']> {
  // Float32 on the processor is ONNX Runtime's, which has a line of its own.
  const what = plugin === 'cpu' ? 'in bf16, ' : ''
  const precisions = (info: DeviceInfo): string => (plugin === 'cpu' ? '' : `; ${precisionsOf(info).join(', ')}`)
  try {
    const devices = await openDevices(plugin)
    return devices.map(({ engine, index, info }) => ({
      name: devices.length === 1 ? plugin : `${plugin}:${index}`,
      usable: true,
      why: `${what}${describeDevice(info)}, plugin ${engine.version}${precisions(info)}`,
    }))
  } catch (error) {
    return [{ name: plugin, usable: false, why: `${what}${(error as Error).message.replace(`${plugin}: `, '')}` }]
  }
}

function addon(): Info['addon'] {
  try {
    return { file: nativePath(), instructionSet: loadNative().instructionSet() }
  } catch (error) {
    return { error: (error as Error).message }
  }
}

/** Reads the version from the package's own package.json: loading the library itself would cost a tenth of a second. */
function installed(name: string, cure: string): { version?: string; error?: string } {
  for (const folder of createRequire(import.meta.url).resolve.paths(name) ?? []) {
    try {
      return {
        version: (JSON.parse(readFileSync(`${folder}/${name}/package.json`, 'utf8')) as { version: string }).version,
      }
    } catch {
      // Not in this folder; the next one up may have it.
    }
  }
  return { error: `not installed: ${cure}` }
}

function render(info: Info): string {
  const rows: [string, string][] = [
    ['signstep', info.signstep],
    ['node', `${info.node} on ${info.platform}`],
    ['processor', `${info.processor}, ${info.memoryGiB} GiB`],
    ['addon', info.addon.error ?? `${info.addon.file} (${info.addon.instructionSet})`],
    ['onnxruntime', info.onnxruntime.version ?? info.onnxruntime.error ?? ''],
    ['sharp', info.sharp.version ?? info.sharp.error ?? ''],
    ...info.devices.map(({ name, usable, why }): [string, string] => [
      `device ${name}`,
      `${usable ? 'usable' : 'not usable'}: ${why}`,
    ]),
  ]
  return rows.map(([name, text]) => `${name.padEnd(13)}${text}\n`).join('')
}
