import { Worker } from 'node:worker_threads'
import { AbortedError, RuntimeError, type SignstepError } from '../../errors/index.js'
import { type Argument, type CallName, LEAVING, type Reply, type Request, type Result, RUNNING } from './protocol.js'

interface Pending {
  readonly resolve: (value: never) => void
  readonly reject: (error: unknown) => void
}

const alive = new Set<Client>()
let listening = false

/** One listener for all clients: Node warns of a leak from the eleventh on. */
function waitAtExit(client: Client): void {
  if (!listening) {
    listening = true
    process.on('exit', () => {
      for (const each of alive) each.waitForRun()
    })
  }
  alive.add(client)
}

/**
 * The main thread's side of the worker. The worker keeps the process alive only while a call is under way, and is never terminated
 * during one (that would abort the process): an aborted call is rejected at once, its result dropped when it comes.
 */
export class Client {
  private readonly worker: Worker
  private readonly flags = new Int32Array(new SharedArrayBuffer(8))
  private readonly pending = new Map<number, Pending>()
  private next = 0
  private failure: SignstepError | undefined

  constructor(threads: number) {
    this.worker = new Worker(new URL('./worker.js', import.meta.url), {
      workerData: { threads, flags: this.flags },
      name: 'signstep-onnxruntime',
      // Flags of the main script (--input-type, --import) are not the worker's.
      execArgv: [],
    })
    this.worker.unref()
    waitAtExit(this)
    this.worker.on('message', (reply: Reply) => this.settle(reply))
    this.worker.on('error', (cause) => this.fail(asRuntimeError(cause)))
    this.worker.on('exit', () =>
      this.fail(new RuntimeError('RUNTIME_FAILED', 'the worker of the CPU backend has ended')),
    )
  }

  /** Sends a call; `transfer` names the buffers that the caller gives away. */
  call<K extends CallName>(
    call: K,
    argument: Argument<K>,
    options: { transfer?: ArrayBuffer[]; signal?: AbortSignal } = {},
  ): Promise<Result<K>> {
    const { transfer = [], signal } = options
    if (this.failure !== undefined) return Promise.reject(this.failure)
    if (signal?.aborted) return Promise.reject(new AbortedError(call, signal.reason))
    const id = this.next++
    const request: Request = { id, call, argument }
    return new Promise<Result<K>>((resolve, reject) => {
      const aborted = (): void => reject(new AbortedError(call, signal?.reason))
      signal?.addEventListener('abort', aborted, { once: true })
      const settled =
        <T>(then: (value: T) => void) =>
        (value: T): void => {
          signal?.removeEventListener('abort', aborted)
          then(value)
        }
      this.pending.set(id, { resolve: settled(resolve) as (value: never) => void, reject: settled(reject) })
      this.worker.ref()
      this.worker.postMessage(request, transfer)
    })
  }

  /** Ends the worker after the call under way. */
  async close(): Promise<void> {
    if (this.failure !== undefined) return
    const ended = new Promise<void>((resolve) => this.worker.once('exit', () => resolve()))
    await this.call('close', {})
    this.failure = new RuntimeError('RUNTIME_FAILED', 'the model has been disposed of')
    this.worker.ref()
    await ended
  }

  /** Blocks until ONNX Runtime is idle and lets it begin nothing more: see LEAVING. */
  waitForRun(): void {
    Atomics.store(this.flags, LEAVING, 1)
    while (Atomics.load(this.flags, RUNNING) === 1) Atomics.wait(this.flags, RUNNING, 1)
  }

  private settle(reply: Reply): void {
    const waiting = this.pending.get(reply.id)
    this.pending.delete(reply.id)
    if (this.pending.size === 0) this.worker.unref()
    if ('failure' in reply) waiting?.reject(revived(reply.failure))
    else waiting?.resolve(reply.value as never)
  }

  private fail(error: SignstepError): void {
    alive.delete(this)
    this.failure ??= error
    for (const { reject } of this.pending.values()) reject(this.failure)
    this.pending.clear()
  }
}

function revived({ code, message }: { code: SignstepError['code']; message: string }): SignstepError {
  return new RuntimeError(code, message)
}

function asRuntimeError(cause: unknown): SignstepError {
  const error = cause as NodeJS.ErrnoException
  if (error.code === 'ERR_MODULE_NOT_FOUND' && error.message.includes('onnxruntime-node'))
    return new RuntimeError('RUNTIME_MISSING', 'onnxruntime-node is not installed', {
      cure: 'Run `npm install onnxruntime-node`.',
      cause,
    })
  const code = error.code === 'RUNTIME_MISSING' ? 'RUNTIME_MISSING' : 'RUNTIME_FAILED'
  return new RuntimeError(code, error.message ?? String(cause), { cause })
}
