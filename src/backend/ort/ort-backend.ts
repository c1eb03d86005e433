import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { availableParallelism } from 'node:os'
import { RuntimeError } from '../../errors/index.js'
import { exportModel, type Graph } from '../../graph/index.js'
import { encodeModel } from '../../onnx/index.js'
import type {
  AttackBatch,
  AttackState,
  Backend,
  CompileOptions,
  PerSample,
  Program,
  ProgramGraphs,
  StepOptions,
  StepResult,
  StepRule,
} from '../program.js'
import { Client } from './client.js'
import { forRuntime } from './rewrite.js'

export interface OrtBackendOptions {
  /** Threads of one operator. Default: all cores the process may use. */
  readonly threads?: number
}

/** The CPU backend: ONNX Runtime and the native kernels, in a worker thread. */
export function ortBackend({
  threads = availableParallelism(),
}: OrtBackendOptions = {}): Backend & { readonly threads: number } {
  const version = runtimeVersion()
  const client = new Client(threads)
  return {
    name: 'cpu',
    eager: false,
    threads,
    notes: [],
    description: `ONNX Runtime ${version} on the CPU, ${threads} thread${threads === 1 ? '' : 's'}`,
    async compile(graphs, options) {
      return new OrtProgram(client, graphs, options)
    },
    dispose: () => client.close(),
  }
}

/** @throws RuntimeError RUNTIME_MISSING where onnxruntime-node is not installed. */
function runtimeVersion(): string {
  for (const folder of createRequire(import.meta.url).resolve.paths('onnxruntime-node') ?? []) {
    try {
      return (JSON.parse(readFileSync(`${folder}/onnxruntime-node/package.json`, 'utf8')) as { version: string })
        .version
    } catch {
      // Not in this folder; the next one up may have it.
    }
  }
  throw new RuntimeError('RUNTIME_MISSING', 'onnxruntime-node is not installed', {
    cure: 'Run `npm install onnxruntime-node`.',
  })
}

/** What a step tells where no sample is left. */
const nobody: StepResult = {
  loss: new Float32Array(0),
  predictions: new Int32Array(0),
  nanGradients: new Int32Array(0),
  zeroGradients: new Uint8Array(0),
}

/** Numbers for sessions and states, unique in the process. */
let counter = 0

class OrtProgram implements Program {
  readonly imageShape: readonly [number, number, number]
  readonly classes: number
  readonly batch: number
  readonly loss: CompileOptions['loss']
  readonly targeted: boolean
  readonly wholeAttacks = false
  private readonly client: Client
  private readonly graphs: ProgramGraphs
  private readonly sessions = new Map<keyof ProgramGraphs, Promise<number>>()

  constructor(client: Client, graphs: ProgramGraphs, { batch, loss, targeted }: CompileOptions) {
    this.client = client
    this.graphs = graphs
    this.batch = batch
    this.loss = loss
    this.targeted = targeted
    this.imageShape = graphs.forward.inputs[0].shape.slice(1) as unknown as [number, number, number]
    this.classes = graphs.forward.outputs[0].shape[1] as number
  }

  /** Sessions are made when they are first needed: a plain evaluation never pays for a gradient, an attack by hand never for a forward. */
  session(kind: keyof ProgramGraphs): Promise<number> {
    let made = this.sessions.get(kind)
    if (made === undefined) {
      made = this.createSession(this.graphs[kind])
      this.sessions.set(kind, made)
    }
    return made
  }

  private async createSession(graph: Graph): Promise<number> {
    const session = counter++
    const bytes = encodeModel(exportModel(forRuntime(graph)))
    await this.client.call('session', { session, bytes }, { transfer: [bytes.buffer as ArrayBuffer] })
    return session
  }

  async forward(images: Float32Array, count: number, signal?: AbortSignal): Promise<Float32Array> {
    const session = await this.session('forward')
    return this.client.call('forward', { session, images, shape: [count, ...this.imageShape] }, { signal })
  }

  async begin(batch: AttackBatch): Promise<AttackState> {
    const state = counter++
    const { images, labels, targets, referenceLogits, sampleIndices, seed } = batch
    const { imageShape, classes, loss } = this
    // Copies: the worker owns its buffers, the caller keeps his.
    const own = images.slice()
    await this.client.call(
      'begin',
      { state, images: own, labels, targets, referenceLogits, sampleIndices, seed, imageShape, classes, loss },
      { transfer: [own.buffer as ArrayBuffer] },
    )
    return this.stateHandle(state, labels.length)
  }

  private stateHandle(state: number, initial: number): AttackState {
    const { client } = this
    let count = initial
    const step = async (
      rule: StepRule,
      { signal, retire = false, remember = false }: StepOptions = {},
    ): Promise<{ result: StepResult; next: StepRule }> => {
      if (count === 0) return { result: nobody, next: rule }
      const session = await this.session('gradient')
      const { kept, ...result } = await client.call('step', { state, session, rule, retire, remember }, { signal })
      if (kept === undefined) return { result, next: rule }
      count = kept.length
      return { result, next: ruleOf(rule, kept) }
    }
    return {
      get count() {
        return count
      },
      start: async (rule) => client.call('start', { state, rule }),
      step: async (rule, options) => (await step(rule, options)).result,
      steps: async (rule, times, options) => {
        const results: StepResult[] = []
        let current = rule
        for (let i = 0; i < times; i++) {
          const { result, next } = await step(current, options)
          results.push(result)
          current = next
        }
        return results
      },
      score: async (signal) => client.call('score', { state, session: await this.session('forward') }, { signal }),
      images: async (rows) => client.call('images', { state, rows }),
      best: async () => client.call('best', { state }),
      gradient: async (signal) =>
        client.call('gradient', { state, session: await this.session('gradient') }, { signal }),
      finished: async (positions) => client.call('finished', { state, positions }),
      dispose: async () => client.call('release', { state }),
    }
  }

  async dispose(): Promise<void> {
    for (const session of this.sessions.values()) await this.client.call('release', { session: await session })
    this.sessions.clear()
  }
}

/** A rule for some of the samples alone. */
function ruleOf(rule: StepRule, rows: Int32Array): StepRule {
  const of = (value: PerSample): PerSample =>
    typeof value === 'number' ? value : Float32Array.from(rows, (i) => value[i])
  if (rule.kind === 'linf')
    return { ...rule, alpha: of(rule.alpha), eps: rule.eps === undefined ? undefined : of(rule.eps) }
  return { ...rule, alpha: of(rule.alpha), eps: of(rule.eps) }
}
