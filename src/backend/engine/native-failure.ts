import { AbortedError, RuntimeError, SignstepError } from '../../errors/index.js'
import type { NativeJob } from '../../native/index.js'

/** What the addon's engine rejected with, as an error of ours. `device` is at fault. */
export function nativeFailure(cause: unknown, device: string, what: string): SignstepError {
  if (cause instanceof SignstepError) return cause
  const { code, message } = cause as NodeJS.ErrnoException
  if (code === 'ABORTED') return new AbortedError(what, cause)
  if (code === 'UNSUPPORTED') return new RuntimeError('DEVICE_UNAVAILABLE', message, { subject: device, cause })
  const outOfMemory = isOutOfMemory(cause)
  return new RuntimeError(outOfMemory ? 'OUT_OF_MEMORY' : 'RUNTIME_FAILED', `${what} failed`, {
    subject: device,
    found: message,
    cure: cureOf(cause),
    cause,
  })
}

function cureOf(cause: unknown): string | undefined {
  const { code, message } = cause as NodeJS.ErrnoException
  if (isOutOfMemory(cause)) return 'Use a smaller --batch, or wait until others on the device have ended.'
  if (/which (bf16|fp16) holds/.test(message)) return 'Use --precision float32.'
  // What was expected has been said.
  return code === 'INVALID' ? undefined : 'Please report it with the output of `signstep info`.'
}

/** The engine has no status of its own for it; its message says so. */
export const isOutOfMemory = (cause: unknown): boolean => /out of memory/i.test((cause as Error).message)

/** Waits for a job; an abort calls it back and rejects at once, whatever the device is still busy with. */
export function settled<T>(
  start: () => NativeJob<T>,
  signal: AbortSignal | undefined,
  device: string,
  what: string,
): Promise<T> {
  if (signal?.aborted) return Promise.reject(new AbortedError(what, signal.reason))
  return new Promise<T>((resolve, reject) => {
    let job: NativeJob<T>
    try {
      job = start()
    } catch (cause) {
      reject(nativeFailure(cause, device, what))
      return
    }
    const aborted = (): void => {
      job.cancel()
      reject(new AbortedError(what, signal?.reason))
    }
    signal?.addEventListener('abort', aborted, { once: true })
    job.promise
      .then(resolve, (cause) => reject(nativeFailure(cause, device, what)))
      .finally(() => signal?.removeEventListener('abort', aborted))
  })
}

/** The same for work that cannot be called back. */
export async function awaited<T>(start: () => Promise<T>, device: string, what: string): Promise<T> {
  try {
    return await start()
  } catch (cause) {
    throw nativeFailure(cause, device, what)
  }
}
