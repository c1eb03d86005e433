import type { Worker } from 'node:worker_threads'
import { describe, expect, it } from 'vitest'
import { Client } from '#signstep/backend/ort/client.js'

/** The thread itself, which no caller of a backend sees. */
const threadOf = (client: Client): Worker => (client as unknown as { worker: Worker }).worker

describe('the worker of the CPU backend', () => {
  it('says what ONNX Runtime makes of bytes that are no model, and goes on', async () => {
    const client = new Client(1)
    const call = () => client.call('session', { session: 0, bytes: Uint8Array.of(1, 2, 3) })
    await expect(call()).rejects.toMatchObject({ code: 'RUNTIME_FAILED' })
    await expect(call()).rejects.toMatchObject({ code: 'RUNTIME_FAILED' })
    await client.close()
  })

  it('rejects the calls under way and all later ones when its thread dies', async () => {
    const client = new Client(1)
    const call = client.call('release', {})
    threadOf(client).emit('error', new Error('out of memory'))
    await expect(call).rejects.toMatchObject({ code: 'RUNTIME_FAILED', message: expect.stringContaining('memory') })
    await expect(client.call('release', {})).rejects.toMatchObject({ code: 'RUNTIME_FAILED' })
    await threadOf(client).terminate()
  })

  it('does not begin a call whose signal is aborted, and drops the result of one that is aborted later', async () => {
    const client = new Client(1)
    await expect(client.call('release', {}, { signal: AbortSignal.abort() })).rejects.toMatchObject({ code: 'ABORTED' })
    const controller = new AbortController()
    const call = client.call('release', {}, { signal: controller.signal })
    controller.abort()
    await expect(call).rejects.toMatchObject({ code: 'ABORTED' })
    await expect(client.call('release', {})).resolves.toBeUndefined()
    await client.close()
  })

  it('adds no listener to the process for every model', async () => {
    const clients = [new Client(1), new Client(1)]
    const listeners = process.listenerCount('exit')
    clients.push(new Client(1))
    expect(process.listenerCount('exit')).toBe(listeners)
    for (const client of clients) await client.close()
  })

  it('ends after the calls that were made before it was closed', async () => {
    const client = new Client(1)
    const call = client.call('release', {})
    await client.close()
    await expect(call).resolves.toBeUndefined()
    await expect(client.call('release', {})).rejects.toMatchObject({ code: 'RUNTIME_FAILED' })
  })
})
