// npm run bench: signstep against what people use today, in turns, in one run, on the same threads.
//
//   npm run bench -- [--models a,b] [--tasks gradient,pgd10,files,perturbation] [--rounds 5] [--threads 2] [--batch n] [--memory] [--out file.jsonl]
//
// Needs a Python with bench/requirements.txt: $SIGNSTEP_PYTHON, or .venv/bin/python of the checkout. Prints one JSON line a measurement
// on stdout and a Markdown table at the end on stderr.
import { spawn, spawnSync } from 'node:child_process'
import { createWriteStream, existsSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { availableParallelism, cpus, tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { setTimeout } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import sharp from 'sharp'
import { evaluate, loadModel, parseAttack } from '../dist/index.js'

const root = fileURLToPath(new URL('..', import.meta.url))
const MODELS = {
  deit_tiny_patch16_224: { batch: 8, goal: 1.8 },
  vit_small_patch16_224: { batch: 8, goal: 1.8 },
  swin_tiny_patch4_window7_224: { batch: 8, goal: 1.5 },
  resnet50: { batch: 8, goal: 1.2, reference: 'channels_last' },
  vit_cifar: { batch: 128, goal: 1.4 },
  resnet18_cifar: { batch: 128, goal: 1.4 },
}
const RIVALS = {
  gradient: ['eager', 'channels_last', 'compiled-bf16'],
  pgd10: ['eager', 'torchattacks', 'foolbox'],
  files: ['torchattacks', 'foolbox'],
}
const MEAN = [0.485, 0.456, 0.406]
const STD = [0.229, 0.224, 0.225]

const { values: options } = parseArgs({
  options: {
    models: { type: 'string', default: Object.keys(MODELS).join(',') },
    tasks: { type: 'string', default: 'gradient,perturbation' },
    rounds: { type: 'string', default: '5' },
    threads: { type: 'string', default: String(availableParallelism()) },
    batch: { type: 'string' },
    memory: { type: 'boolean', default: false },
    out: { type: 'string' },
  },
})
const threads = Number(options.threads)
const rounds = Number(options.rounds)
const tasks = options.tasks.split(',').filter((task) => task !== '' && task !== 'perturbation')
const output = options.out === undefined ? undefined : createWriteStream(options.out, { flags: 'a' })

const rows = []
function emit(line) {
  const full = { threads, processor: cpus()[0].model.trim(), ...line }
  rows.push(full)
  console.log(JSON.stringify(full))
  output?.write(`${JSON.stringify(full)}\n`)
}

// The kernels of the steps against a copy of the same arrays, in a program of their own.
if (options.tasks.split(',').includes('perturbation')) {
  const build = join(root, 'build/bench')
  const commands = [
    ['cmake', ['-S', root, '-B', build, '-DCMAKE_BUILD_TYPE=Release', '-DSIGNSTEP_BENCH=ON', '-DSIGNSTEP_ADDON=OFF']],
    ['cmake', ['--build', build, '-j', '2']],
    [join(build, 'bin/perturbation'), ['--json']],
  ]
  for (const [command, args] of commands) {
    const { status, stdout } = spawnSync(command, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'inherit'] })
    if (status !== 0) throw new Error(`bench: ${command} failed`)
    if (args[0] === '--json')
      for (const line of stdout.trim().split('\n')) emit({ task: 'perturbation', ...JSON.parse(line) })
  }
  if (tasks.length === 0) process.exit(0)
}

const python = [process.env.SIGNSTEP_PYTHON, join(root, '.venv/bin/python')].find((path) => path && existsSync(path))
if (python === undefined) {
  console.error(
    'bench: no Python with the rivals: python3 -m venv .venv && .venv/bin/pip install -r bench/requirements.txt',
  )
  process.exit(1)
}

/** The rivals of one model, in a process of their own. */
class Server {
  constructor() {
    this.child = spawn(python, [join(root, 'bench/rivals.py')], {
      stdio: ['pipe', 'pipe', 'ignore'],
      env: { ...process.env, OMP_NUM_THREADS: String(threads) },
    })
    this.lines = createInterface({ input: this.child.stdout })[Symbol.asyncIterator]()
  }
  async ask(request) {
    this.child.stdin.write(`${JSON.stringify(request)}\n`)
    const { value, done } = await this.lines.next()
    if (done) throw new Error('the Python process ended')
    return JSON.parse(value)
  }
  close() {
    this.child.stdin.end()
  }
}

const median = (samples) => {
  const sorted = [...samples].sort((a, b) => a - b)
  const middle = sorted.length >> 1
  return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2
}

/** A folder of random but smooth JPEG pictures of the model's size, for the task from files to results. */
async function makePictures(folder, side, count) {
  mkdirSync(join(folder, 'class'), { recursive: true })
  for (let i = 0; i < count; i++) {
    const small = Buffer.from(Uint8Array.from({ length: 8 * 8 * 3 }, () => Math.random() * 256))
    const path = join(folder, 'class', `${String(i).padStart(3, '0')}.jpg`)
    await sharp(small, { raw: { width: 8, height: 8, channels: 3 } })
      .resize(side, side)
      .jpeg({ quality: 90 })
      .toFile(path)
  }
}

/** Ours for a task: resolves when the work is done. */
async function ours(model, task, { batch, pictures, classes }) {
  const [c, h, w] = model.imageShape
  const images = Float32Array.from({ length: batch * c * h * w }, () => Math.random())
  const labels = Int32Array.from({ length: batch }, () => Math.floor(Math.random() * classes))
  const pgd10 = parseAttack('pgd-10', { eps: '4/255', alpha: '1/255' })
  if (task === 'gradient') {
    const program = await model.program({ loss: 'cross-entropy', targeted: false })
    const state = await program.begin({ images, labels, sampleIndices: Int32Array.from(labels.keys()), seed: 0 })
    await state.start({ kind: 'clean' })
    return () => state.gradient()
  }
  if (task === 'pgd10') return () => pgd10.run(model, images, labels, { seed: 0 })
  const { openDataset } = await import('../dist/data/index.js')
  const { RunFolder } = await import('../dist/report/index.js')
  return async () => {
    const dataset = await openDataset(pictures, { imageShape: model.imageShape })
    const out = mkdtempSync(join(tmpdir(), 'signstep-bench-'))
    const folder = await RunFolder.create(out, {
      attacks: [pgd10],
      imageShape: model.imageShape,
      saveAdversarial: true,
      file: (i) => dataset.file(i),
    })
    const { result, examples } = await evaluate(model, dataset, {
      attacks: [pgd10],
      attackErrors: true,
      batch,
      onBatch: (b) => folder.append(b),
    })
    await folder.finish(result, examples)
    await dataset.close()
    rmSync(out, { recursive: true })
  }
}

async function peakMemory(name, onnx, batch, side, scratch) {
  const shape = [3, side, side]
  const images = join(scratch, 'x.npz')
  const { createNpzWriter } = await import('../dist/data/index.js')
  const n = 2 * batch
  const writer = await createNpzWriter(images, {
    images: { dtype: 'float32', shape },
    labels: { dtype: 'int64', shape: [] },
  })
  await writer.append({
    images: Float32Array.from({ length: n * 3 * side * side }, () => Math.random()),
    labels: new BigInt64Array(n),
  })
  await writer.finish()
  const args = [
    'attack',
    onnx,
    '--data',
    images,
    '--preprocess',
    'imagenet',
    '--attack',
    'pgd',
    '--eps',
    '4/255',
    '--steps',
    '3',
  ]
  const main = [
    join(root, 'dist/cli/main.js'),
    ...args,
    '--batch',
    String(batch),
    '--threads',
    String(threads),
    '--out',
    join(scratch, 'run'),
    '--quiet',
  ]
  const mib = await new Promise((done) => {
    // The child prints its own high-water mark as it leaves.
    const report =
      "process.on('exit', () => process.stderr.write(require('fs').readFileSync('/proc/self/status', 'utf8').match(/VmHWM:\\s+(\\d+)/)[1]))"
    const preload = `data:text/javascript,${encodeURIComponent(`import{createRequire}from'node:module';const require=createRequire('${root}x.js');${report}`)}`
    const child = spawn(process.execPath, ['--import', preload, ...main], { stdio: ['ignore', 'ignore', 'pipe'] })
    let text = ''
    child.stderr.on('data', (chunk) => {
      text += chunk
    })
    child.on('close', () => done(Number(/(\d+)\s*$/.exec(text)?.[1] ?? Number.NaN) / 1024))
  })
  emit({ model: name, task: 'memory', rival: 'signstep', batch, mib })
  return mib
}

for (const name of options.models.split(',').filter(Boolean)) {
  const plan = MODELS[name]
  if (plan === undefined) throw new Error(`bench: unknown model ${name}; known: ${Object.keys(MODELS).join(', ')}`)
  const batch = options.batch === undefined ? plan.batch : Number(options.batch)
  const scratch = mkdtempSync(join(tmpdir(), 'signstep-bench-'))
  const onnx = join(scratch, `${name}.onnx`)
  const pictures = join(scratch, 'pictures')
  await makePictures(pictures, name.endsWith('cifar') ? 32 : 224, 2 * batch)
  const server = new Server()
  const loaded = await server.ask({ do: 'load', model: name, batch, threads, onnx, images: pictures })
  if (loaded.error) throw new Error(loaded.error)
  const common = { mean: MEAN, std: STD, threads, device: 'cpu' }
  const model = await loadModel(onnx, common)
  // Where the processor has bf16 products and our kernels cover the model.
  const quick = await loadModel(onnx, { ...common, precision: 'bf16' }).catch((error) =>
    console.error(`bench: no bf16: ${error.message}`),
  )
  for (const task of tasks) {
    const work = { batch, pictures, classes: loaded.classes }
    const timed = (run) => async () => {
      const start = performance.now()
      await run()
      return { ms: performance.now() - start }
    }
    const entrants = [
      ['signstep', timed(await ours(model, task, work))],
      ...(quick ? [['signstep bf16', timed(await ours(quick, task, work))]] : []),
      ...RIVALS[task]
        .filter((rival) => rival !== 'channels_last' || name.startsWith('resnet'))
        .map((rival) => [rival, () => server.ask({ do: 'time', rival, task })]),
    ]
    const samples = new Map()
    for (let round = -1; round < rounds; round++)
      for (const [rival, once] of entrants) {
        // Threads of the last entrant may still spin for work; let them fall asleep first.
        await setTimeout(300)
        const { ms, error } = await once()
        if (error) console.error(`bench: ${rival}: ${error}`)
        // Round −1 warms up: compilers compile, caches fill.
        else if (round >= 0) samples.set(rival, [...(samples.get(rival) ?? []), ms])
      }
    const base = median(samples.get('signstep'))
    for (const [rival, list] of samples)
      emit({
        model: name,
        task,
        rival,
        batch,
        medianMs: median(list),
        minMs: Math.min(...list),
        maxMs: Math.max(...list),
        rounds,
        ratio: median(list) / base,
      })
  }
  await model.dispose()
  await quick?.dispose()
  if (options.memory) {
    // A process of its own: other rivals' copies and compilers are not eager's memory.
    const alone = new Server()
    await alone.ask({ do: 'load', model: name, batch, threads, onnx })
    const answer = await alone.ask({ do: 'memory', rival: 'eager', task: 'gradient' })
    alone.close()
    emit({ model: name, task: 'memory', rival: 'eager', batch, mib: answer.mib })
    await peakMemory(name, onnx, batch, loaded.side, scratch)
  }
  server.close()
  rmSync(scratch, { recursive: true })
}

const table = rows
  .filter(({ medianMs }) => medianMs !== undefined)
  .map(
    ({ model, task, rival, batch, medianMs, ratio }) =>
      `| ${model} | ${task} | ${batch} | ${rival} | ${medianMs.toFixed(0)} | ${ratio.toFixed(2)} |`,
  )
console.error(
  ['| model | task | batch | tool | median ms | times signstep |', '|---|---|---|---|---|---|', ...table].join('\n'),
)
output?.end()
