import { execFileSync, spawnSync } from 'node:child_process'
import { chmodSync, existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import sharp from 'sharp'
import { beforeAll, describe, expect, it } from 'vitest'
import { writeNpz } from '#signstep/data/index.js'
import { float32Tensor, int64Tensor } from '#signstep/tensor/index.js'
import { writeZip } from '../data/zip-file.js'
import { type CliResult, cli, demo, root, scratch } from '../support/cli.js'
import { linearModel } from '../support/linear-model.js'

const [SIZE, CLASSES] = [4, 3]
const PIXELS = 3 * SIZE * SIZE
const main = join(root, 'dist/cli/main.js')
const sweep = ['--attacks', 'fgsm', '--eps', '4/255', '--quiet']
const single = ['--attack', 'fgsm', '--eps', '4/255', '--quiet']

let model: string

beforeAll(async () => {
  const weights = Array.from({ length: PIXELS }, (_, i) =>
    Array.from({ length: CLASSES }, (_, c) => ((i * 7 + c * 5) % 11) - 5),
  )
  model = await linearModel([3, SIZE, SIZE], weights)
})

interface Arrays {
  readonly count?: number
  readonly labels?: readonly number[]
  readonly pixel?: number
}

/** Images of the model's shape, the last pixel of the last one as given. */
async function npz({ count = 6, labels, pixel = 0.5 }: Arrays = {}): Promise<string> {
  const path = join(scratch(), 'x.npz')
  const images = Array.from({ length: count * PIXELS }, (_, i) => ((i * 37) % 101) / 101)
  images[images.length - 1] = pixel
  const own = labels ?? Array.from({ length: count }, (_, i) => i % CLASSES)
  await writeNpz(path, {
    images: float32Tensor([count, 3, SIZE, SIZE], images),
    labels: int64Tensor(own),
  })
  return path
}

function failed({ code, stdout, stderr }: CliResult, ...words: readonly (string | RegExp)[]): void {
  expect(stderr).not.toMatch(/^\s+at /m)
  for (const word of words) expect(stderr).toMatch(word)
  expect([code, stdout]).toEqual([1, ''])
}

describe('one image that cannot be decoded ends the run with its name', () => {
  let good: Buffer
  beforeAll(async () => {
    const raw = { width: SIZE, height: SIZE, channels: 3 } as const
    good = await sharp(Buffer.alloc(PIXELS, 99), { raw }).png().toBuffer()
  })

  it.each([
    ['folder', 'evaluate', 'cut off', (): Buffer => good.subarray(0, 60)],
    ['folder', 'attack', 'empty', (): Buffer => Buffer.alloc(0)],
    ['zip', 'evaluate', 'a text', (): Buffer => Buffer.from('no picture')],
    ['zip', 'attack', 'cut off', (): Buffer => good.subarray(0, 60)],
  ] as const)('in a %s, under %s: %s', async (kind, command, _fault, bad) => {
    const files = { 'a/0.png': good, 'a/1.png': good, 'b/0.png': good, 'b/1.png': bad() }
    const data = join(scratch(), kind === 'zip' ? 'x.zip' : 'x')
    if (kind === 'zip') writeZip(data, files)
    else
      for (const [name, bytes] of Object.entries(files)) {
        mkdirSync(join(data, name, '..'), { recursive: true })
        writeFileSync(join(data, name), bytes)
      }
    const out = join(scratch(), 'run')
    const attack = command === 'attack' ? single : sweep
    const result = await cli([command, model, '--data', data, ...attack, '--batch', '2', '--out', out])
    failed(result, `${data}/b/1.png: the image cannot be decoded`, 'DATA_UNDECODABLE')
    // The first batch was measured and stays; nothing else does.
    expect(readdirSync(out, { recursive: true }).sort()).toEqual([
      ...(command === 'attack' ? ['adversarial'] : []),
      'metrics.jsonl',
      'samples.csv',
    ])
    expect(readFileSync(join(out, 'samples.csv'), 'utf8').split('\n')).toHaveLength(4)
  })
})

describe('arrays at fault are named, and no run folder is left where nothing was measured', () => {
  it.each([
    [
      'a label above the classes',
      { labels: [0, 1, 2, 1000, 0, 1] },
      /x\.npz#3.*expected 0 … 2; found 1000.*DATA_CLASSES/,
    ],
    ['a pixel that is NaN', { pixel: Number.NaN }, /x\.npz#5.*NaN or infinity.*DATA_INVALID/],
  ])('%s', async (_fault, arrays, words) => {
    const out = join(scratch(), 'run')
    failed(await cli(['attack', model, '--data', await npz(arrays), ...single, '--out', out]), words)
    expect(existsSync(out)).toBe(false)
  })
})

describe('a place where nothing can be written', () => {
  let data: string
  beforeAll(async () => {
    data = await npz()
  })
  const run = (out: string): Promise<CliResult> => cli(['evaluate', model, '--data', data, ...sweep, '--out', out])

  it('is refused where it is a file, and the file stays', async () => {
    const file = join(scratch(), 'thesis')
    writeFileSync(file, 'precious')
    const [itself, below] = await Promise.all([run(file), run(join(file, 'run'))])
    failed(itself, file, 'Give a folder, not a file', 'OUTPUT_FAILED')
    failed(below, file, 'Give a folder, not a file', 'OUTPUT_FAILED')
    expect(readFileSync(file, 'utf8')).toBe('precious')
  })

  it.runIf(existsSync('/proc/self'))('is refused in a file system that takes no folders', async () =>
    failed(await run('/proc/signstep'), '/proc/signstep', 'OUTPUT_FAILED'),
  )

  it.skipIf(process.getuid?.() === 0)('is refused where the folder may not be written to', async () => {
    const folder = scratch()
    chmodSync(folder, 0o555)
    failed(await run(join(folder, 'run')), folder, 'Give a folder you may write to', 'OUTPUT_FAILED')
  })

  it('may be that of an earlier run, ended or killed', async () => {
    const out = scratch()
    for (const name of ['result.json', 'result.json.part', 'report.html', 'samples.csv'])
      writeFileSync(join(out, name), 'old')
    mkdirSync(join(out, 'adversarial'))
    writeFileSync(join(out, 'adversarial', '.pgd-4_255.npz-xyz'), 'old')
    expect((await run(out)).code).toBe(0)
    expect(readdirSync(out).sort()).toEqual(['metrics.jsonl', 'report.html', 'result.json', 'samples.csv'])
    for (const name of readdirSync(out)) expect(readFileSync(join(out, name), 'utf8')).not.toBe('old')
  })

  it('is no device, which a file would take the place of', async () => {
    const pipe = join(scratch(), 'pipe')
    execFileSync('mkfifo', [pipe])
    failed(await cli(['gradient', demo('vit.onnx'), '-o', pipe]), pipe, 'a device, pipe or socket', 'OUTPUT_FAILED')
    expect(statSync(pipe).isFIFO()).toBe(true)
  })
})

/** The command line where no file can grow beyond so many KiB: what a full disk does, to every file by itself. */
function limited(kib: number, args: readonly string[]): CliResult {
  const { status, stdout, stderr } = spawnSync(
    'bash',
    ['-c', `ulimit -f ${kib}; exec "$@"`, 'bash', process.execPath, main, ...args],
    { encoding: 'utf8' },
  )
  return { code: status, stdout, stderr }
}

describe('a disk that fills up in mid-run', () => {
  it('ends it with whole lines of what was measured', async () => {
    const out = join(scratch(), 'run')
    const data = await npz({ count: 400 })
    failed(
      limited(4, ['evaluate', model, '--data', data, ...sweep, '--batch', '30', '--out', out]),
      out,
      'OUTPUT_FAILED',
    )
    expect(readdirSync(out).sort()).toEqual(['metrics.jsonl', 'samples.csv'])
    const lines = readFileSync(join(out, 'samples.csv'), 'utf8').split('\n')
    expect(lines.pop()).toBe('')
    expect((lines.length - 1) % 30).toBe(0)
    expect(lines.length).toBeGreaterThan(30)
    for (const line of lines.slice(1)) expect(line).toMatch(/^\d+,x\.npz#\d+,\d,[01],[01]$/)
  })

  it('leaves no half of an archive', async () => {
    const out = join(scratch(), 'run')
    const data = await npz({ count: 400 })
    failed(
      limited(30, ['attack', model, '--data', data, ...single, '--batch', '100', '--out', out]),
      out,
      'OUTPUT_FAILED',
    )
    expect(readdirSync(out, { recursive: true }).sort()).toEqual(['adversarial', 'metrics.jsonl', 'samples.csv'])
  })

  it('leaves no half of a gradient file, and the old one', () => {
    const folder = scratch()
    const file = join(folder, 'file')
    writeFileSync(file, 'old')
    failed(limited(100, ['gradient', demo('vit.onnx'), '-o', file]), file, 'OUTPUT_FAILED')
    expect([readdirSync(folder), readFileSync(file, 'utf8')]).toEqual([['file'], 'old'])
  })
})

describe('standard output', () => {
  const shell = (line: string): CliResult => {
    const { status, stdout, stderr } = spawnSync('bash', ['-c', line, 'bash', process.execPath, main], {
      encoding: 'utf8',
    })
    return { code: status, stdout, stderr }
  }
  const inspect = `"$1" "$2" inspect ${demo('vit.onnx')} --json`

  it('that no one reads to its end is no failure', () =>
    expect(shell(`set -o pipefail; ${inspect} | true`)).toEqual({ code: 0, stdout: '', stderr: '' }))

  it.runIf(existsSync('/dev/full'))('on a full disk is one', () =>
    failed(shell(`${inspect} > /dev/full`), /stdout.*OUTPUT_FAILED/),
  )
})

describe('a simulated GPU', () => {
  const run = async (env: Record<string, string>, ...more: string[]): Promise<CliResult> =>
    cli(['evaluate', model, '--data', await npz(), ...sweep, '--device', 'sim', ...more], { env })

  it('that fails in mid-run ends it with kernel, program step and shapes', async () => {
    const out = join(scratch(), 'run')
    const args = ['attack', model, '--data', await npz(), ...single, '--device', 'sim', '--batch', '2', '--out', out]
    // The first batch takes two: that of the step and that of the score.
    const result = await cli(args, { env: { SIGNSTEP_SIM_FAIL: 'loss_head:3', CUDA_LAUNCH_BLOCKING: '1' } })
    failed(
      result,
      /sim: .*failed; found step \d+ \(loss, .*: classes 3\): loss_head: uncorrectable memory error.*RUNTIME_FAILED/,
    )
    expect(readdirSync(out).sort()).toEqual(['adversarial', 'metrics.jsonl', 'samples.csv'])
  })

  it('that is too old, or has no memory left, is refused with the reason', async () => {
    failed(
      await run({ SIGNSTEP_SIM_CAPABILITY: '75' }),
      /sim: the GPU is too old; expected compute capability 8\.0.*7\.5.*DEVICE_UNAVAILABLE/,
    )
    failed(await run({ SIGNSTEP_SIM_MEMORY: '2000' }), /out of memory.*OUT_OF_MEMORY/)
  })

  it('refuses weights that its precision cannot hold', async () => {
    const weights = Array.from({ length: PIXELS }, () => [70000, 0, 0])
    const large = await linearModel([3, SIZE, SIZE], weights)
    const args = ['evaluate', large, '--data', await npz(), ...sweep, '--device', 'sim', '--precision', 'fp16']
    failed(await cli(args), /expected numbers up to 65504.* which fp16 holds, found 70000.*Use --precision float32/)
  })
})
