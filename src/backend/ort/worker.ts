import { parentPort, workerData } from 'node:worker_threads'
import type { InferenceSession, Tensor } from 'onnxruntime-node'
import { RuntimeError, SignstepError } from '../../errors/index.js'
import { loadNative } from '../../native/index.js'
import { lossOfLogits, predictionsOf } from '../loss.js'
import { AttackBuffers } from './attack-buffers.js'
import {
  type Argument,
  type CallName,
  type Failure,
  LEAVING,
  type Reply,
  type Request,
  type Result,
  RUNNING,
} from './protocol.js'

/**
 * ONNX Runtime blocks the thread that calls it, so it lives in this worker, together with the buffers of the attacks and the kernels
 * that move them: a step crosses the thread border with a few numbers per sample only.
 */
const { threads, flags } = workerData as { threads: number; flags: Int32Array }
const ort = await import('onnxruntime-node')
const native = loadNative()
native.setThreads(threads)

const sessions = new Map<number, InferenceSession>()
const states = new Map<number, AttackBuffers>()

type Handlers = { [K in CallName]: (argument: Argument<K>) => Promise<Result<K>> | Result<K> }

const handlers: Handlers = {
  async session({ session, bytes }) {
    sessions.set(
      session,
      await running(() =>
        ort.InferenceSession.create(bytes, {
          executionProviders: ['cpu'],
          intraOpNumThreads: threads,
          interOpNumThreads: 1,
          executionMode: 'sequential',
          graphOptimizationLevel: 'all',
          // Measured on ViT-S at batch 8: without the arena 1,130 ms instead of 970 (fresh pages at every step); without prepacking the same
          // time and one copy of the weights less; without the memory pattern the same time and 538 MB instead of 920, because the
          // planned block would come on top of what the first run allocated.
          enableCpuMemArena: true,
          enableMemPattern: false,
          extra: { session: { disable_prepacking: '1', intra_op: { allow_spinning: '1' } } },
          logSeverityLevel: 3,
        }),
      ),
    )
    return undefined
  },
  async forward({ session, images, shape }) {
    return (await run(session, { images: tensorOf(images, shape) }, ['logits'])).logits
  },
  begin(batch) {
    states.set(batch.state, new AttackBuffers(batch))
    return undefined
  },
  start({ state, rule }) {
    stateOf(state).start(native, rule)
    return undefined
  },
  async step({ state, session, rule, retire, remember }) {
    const buffers = stateOf(state)
    const { logits, loss, input_gradient } = await run(session, feedsOf(buffers), ['logits', 'loss', 'input_gradient'])
    const predictions = predictionsOf(logits, buffers.classes)
    if (remember) buffers.remember(loss, rule.direction)
    const fooled = retire
      ? Uint8Array.from(predictions, (found, i) =>
          Number(buffers.targets ? found === buffers.targets[i] : found !== buffers.labels[i]),
        )
      : undefined
    const { nan, zero } = buffers.step(native, rule, input_gradient, fooled)
    const kept = fooled?.includes(1) ? buffers.retire(fooled) : undefined
    return { loss, predictions, nanGradients: nan, zeroGradients: zero, kept }
  },
  async score({ state, session }) {
    const buffers = stateOf(state)
    const { logits } = await run(session, { images: tensorOf(buffers.x, buffers.shape) }, ['logits'])
    const loss = lossOfLogits(buffers.loss, logits, buffers.classes, buffers)
    return { loss, predictions: predictionsOf(logits, buffers.classes), logits }
  },
  images: ({ state, rows }) => stateOf(state).images(rows),
  best: ({ state }) => stateOf(state).best(),
  async gradient({ state, session }) {
    return (await run(session, feedsOf(stateOf(state)), ['input_gradient'])).input_gradient
  },
  finished: ({ state, positions }) => stateOf(state).finished(positions),
  async release({ session, state }) {
    if (state !== undefined) states.delete(state)
    if (session !== undefined) {
      await sessions.get(session)?.release()
      sessions.delete(session)
    }
    return undefined
  },
  async close() {
    for (const session of sessions.values()) await session.release()
    sessions.clear()
    states.clear()
    return undefined
  },
}

/** Says to the main thread that ONNX Runtime is at work. Once the process is leaving, nothing new begins. */
async function running<T>(work: () => Promise<T>): Promise<T> {
  Atomics.store(flags, RUNNING, 1)
  try {
    if (Atomics.load(flags, LEAVING) === 1) throw new Error('the process is leaving')
    return await work()
  } finally {
    Atomics.store(flags, RUNNING, 0)
    Atomics.notify(flags, RUNNING)
  }
}

function stateOf(id: number): AttackBuffers {
  const found = states.get(id)
  if (found === undefined) throw new Error(`attack state ${id} is gone`)
  return found
}

const tensorOf = (data: Float32Array, shape: readonly number[]): Tensor => new ort.Tensor('float32', data, [...shape])
const labelTensor = (labels: Int32Array): Tensor =>
  new ort.Tensor('int64', BigInt64Array.from(labels, BigInt), [labels.length])

function feedsOf(buffers: AttackBuffers): Record<string, Tensor> {
  const feeds: Record<string, Tensor> = {
    images: tensorOf(buffers.x, buffers.shape),
    labels: labelTensor(buffers.labels),
  }
  if (buffers.targets) feeds.targets = labelTensor(buffers.targets)
  if (buffers.referenceLogits)
    feeds.reference_logits = tensorOf(buffers.referenceLogits, [buffers.count, buffers.classes])
  return feeds
}

async function run<K extends string>(
  id: number,
  feeds: Record<string, Tensor>,
  fetches: readonly K[],
): Promise<Record<K, Float32Array>> {
  const session = sessions.get(id)
  if (session === undefined) throw new Error(`session ${id} is gone`)
  // A graph that needs no label (KL, or all outputs but the loss pruned) has no such input.
  const given = Object.fromEntries(Object.entries(feeds).filter(([name]) => session.inputNames.includes(name)))
  const results = await running(() => session.run(given, fetches as readonly string[] as string[]))
  return Object.fromEntries(fetches.map((name) => [name, results[name].data as Float32Array])) as Record<
    K,
    Float32Array
  >
}

function failureOf(error: unknown): Failure {
  if (error instanceof SignstepError) return { code: error.code, message: error.message, fault: {} }
  const text = error instanceof Error ? error.message : String(error)
  const failure = new RuntimeError('RUNTIME_FAILED', 'ONNX Runtime refused or failed', {
    found: text.split('\n')[0],
    cure: 'If memory is short, use a smaller --batch. Otherwise please report it with the output of `signstep info`.',
  })
  return { code: failure.code, message: failure.message, fault: {} }
}

function buffersOf(value: unknown): ArrayBuffer[] {
  const parts =
    value instanceof Float32Array ? [value] : typeof value === 'object' && value !== null ? Object.values(value) : []
  return parts.filter((part) => ArrayBuffer.isView(part)).map((part) => part.buffer as ArrayBuffer)
}

// Calls overlap in time only if they are awaited one by one: ONNX Runtime's `run` resolves after it has blocked.
let last: Promise<void> = Promise.resolve()
parentPort?.on('message', ({ id, call, argument }: Request) => {
  last = last.then(async () => {
    let reply: Reply
    try {
      const handler = handlers[call] as (argument: object) => unknown
      reply = { id, value: await handler(argument) }
    } catch (error) {
      reply = { id, failure: failureOf(error) }
    }
    parentPort?.postMessage(reply, 'value' in reply ? [...new Set(buffersOf(reply.value))] : [])
    if (call === 'close') parentPort?.close()
  })
})
