import { availableParallelism } from 'node:os'
import { forwardGraph, jointGraph, type LossName, type Preprocess } from '../autodiff/index.js'
import { type Backend, type Program, predictionsOf } from '../backend/index.js'
import { checkWhole, DataError, ModelError, RuntimeError, refuseUnknownOptions } from '../errors/index.js'
import { canonicalise, cost, type Graph } from '../graph/index.js'
import { type InspectResult, inspectModel } from '../inspect/index.js'
import type { OnnxModel } from '../onnx/index.js'
import { checkDevice, chooseDevice, type DeviceOptions } from './choose-device.js'
import { hashOf } from './hash-of.js'
import { type PreprocessOptions, preprocessOptions, resolvePreprocess } from './preprocess.js'
import { type ReadOptions, readGraph, readOptions } from './read-graph.js'
import { verifyRebatched } from './verify-rebatched.js'

export interface ModelOptions extends ReadOptions, PreprocessOptions, DeviceOptions {
  /** Images a pass. Default: what 512 MiB of activations allow, at most 128; on a GPU what its free memory allows, at most 256. */
  readonly batch?: number
}

const OPTIONS = [...preprocessOptions, ...readOptions, 'device', 'precision', 'threads', 'batch']

/** Activations that a backward pass keeps, for the automatic batch size. */
const ACTIVATION_BUDGET = 512 * 2 ** 20
const LARGEST_BATCH = 128

/**
 * Reads an ONNX image classifier and makes it ready to run and to attack.
 *
 * @param path an ONNX file, opset 7 or later, one image input [N,C,H,W], logits [N,classes]
 * @throws ModelError where the file cannot be read or is no such model, or where the device that was asked for has no kernel for it;
 * OptionError for options; RuntimeError where ONNX Runtime is missing or the device cannot be had
 */
export async function loadModel(path: string, options: ModelOptions = {}): Promise<Model> {
  refuseUnknownOptions(options, OPTIONS, 'loadModel')
  checkWhole(options.threads, 1, 'threads')
  checkWhole(options.batch, 1, 'batch')
  checkDevice(options)
  const { onnx, imported } = await readGraph(path, options)
  const [, channels] = imported.graph.inputs[0].shape as number[]
  const preprocess = resolvePreprocess(options, channels)
  const graph = canonicalise(imported.graph, { keepParameters: false })
  const { backend, note } = await chooseDevice(graph, preprocess, options)
  const notes = [...imported.notes]
  const model = new Model({
    file: path,
    sha256: await hashOf(path),
    onnx,
    imported: imported.graph,
    graph,
    preprocess,
    backend,
    deviceNote: note,
    threads: options.threads ?? availableParallelism(),
    notes,
    batch: options.batch,
  })
  try {
    await model.fitBatch()
    await verifyRebatched(model, onnx, imported, notes)
  } catch (error) {
    await model.dispose()
    throw error
  }
  return model
}

interface Parts {
  readonly file: string
  readonly sha256: string
  readonly onnx: OnnxModel
  readonly imported: Graph
  readonly graph: Graph
  readonly preprocess: Preprocess
  readonly backend: Backend
  readonly deviceNote: string | undefined
  readonly threads: number
  readonly notes: readonly string[]
  readonly batch: number | undefined
}

/** A classifier ready to run. Made by `loadModel`; `dispose` (or `await using`) frees its runtime. */
export class Model {
  readonly file: string
  readonly sha256: string
  /** [C,H,W] of an image. */
  readonly imageShape: readonly [number, number, number]
  readonly classes: number
  readonly preprocess: Preprocess
  readonly backend: Backend
  /** What `device: 'auto'` chose, and why. Undefined where the device was named. */
  readonly deviceNote: string | undefined
  readonly threads: number
  private readonly parts: Parts
  private readonly programs = new Map<string, Promise<Program>>()
  /** What is said of programs that ran out of memory, by their loss. */
  private readonly exhausted = new Map<string, string>()
  private images: number
  private disposed = false

  constructor(parts: Parts) {
    this.parts = parts
    this.file = parts.file
    this.sha256 = parts.sha256
    const [input] = parts.graph.inputs
    const [logits] = parts.graph.outputs
    this.imageShape = input.shape.slice(1) as unknown as [number, number, number]
    this.classes = logits.shape[1] as number
    this.preprocess = parts.preprocess
    this.backend = parts.backend
    this.deviceNote = parts.deviceNote
    this.threads = parts.threads
    this.images = parts.batch ?? automaticBatch(parts.graph)
  }

  /** What a reader of results should know: a batch that was made free, a softmax at the end, a batch that had to be halved. */
  get notes(): readonly string[] {
    return [...this.parts.notes, ...this.backend.notes, ...this.exhausted.values()]
  }

  /** Images a pass. */
  get batch(): number {
    return this.images
  }

  /** On a GPU the batch follows from its free memory once the program is there: so that is loaded first. */
  async fitBatch(): Promise<void> {
    if (!this.backend.eager) return
    if (this.backend.name === 'cuda' && this.parts.batch === undefined) this.images = 0
    const program = await this.program({ loss: 'cross-entropy', targeted: false })
    this.images = program.batch
  }

  /**
   * Logits [n, classes] of images [n,C,H,W] in [0,1].
   *
   * @throws ModelError NUMERIC where a logit is NaN, AbortedError
   */
  async logits(images: Float32Array, options: { signal?: AbortSignal } = {}): Promise<Float32Array> {
    const logits = await this.rawLogits(images, options)
    const bad = logits.findIndex(Number.isNaN)
    if (bad >= 0)
      throw new ModelError('NUMERIC', 'a logit is NaN', {
        subject: this.file,
        found: `image ${Math.floor(bad / this.classes)}`,
        cure: 'Check the weights and the preprocessing.',
      })
    return logits
  }

  /** The same without looking for NaN. */
  async rawLogits(images: Float32Array, { signal }: { signal?: AbortSignal } = {}): Promise<Float32Array> {
    const per = this.imageShape.reduce((a, b) => a * b, 1)
    const count = images.length / per
    if (!Number.isInteger(count))
      throw new DataError('SHAPE_MISMATCH', 'is no whole number of images', {
        subject: 'images',
        expected: `a multiple of ${this.imageShape.join(' × ')} = ${per} floats`,
        found: String(images.length),
      })
    const program = await this.program({ loss: 'cross-entropy', targeted: false })
    const out = new Float32Array(count * this.classes)
    for (let from = 0; from < count; from += program.batch) {
      const to = Math.min(count, from + program.batch)
      out.set(await program.forward(images.slice(from * per, to * per), to - from, signal), from * this.classes)
    }
    return out
  }

  /** The class of the highest logit of each image. */
  async predict(images: Float32Array, options: { signal?: AbortSignal } = {}): Promise<Int32Array> {
    return predictionsOf(await this.logits(images, options), this.classes)
  }

  /** The compiled forward and gradient for a loss; compiled once and kept. */
  program({ loss, targeted }: { loss: LossName; targeted: boolean }): Promise<Program> {
    if (this.disposed)
      return Promise.reject(
        new RuntimeError('RUNTIME_FAILED', 'the model has been disposed of', { subject: this.file }),
      )
    const key = keyOf({ loss, targeted })
    let program = this.programs.get(key)
    if (program === undefined) {
      program = this.compile(loss, targeted, this.batch)
      this.keep(key, program)
    }
    return program
  }

  /**
   * Puts one for half the batch in the place of a program that ran out of memory in the midst of its work; its attacks are gone. Nothing
   * where the batch cannot be halved, or where that has been done.
   *
   * @throws RuntimeError OUT_OF_MEMORY where not even a batch of one has room
   */
  async shrink(failed: Program): Promise<void> {
    const { loss, targeted, batch } = failed
    const key = keyOf(failed)
    const current = await this.programs.get(key)
    if (current !== failed || batch < 2) return
    const smaller = failed.dispose().then(() => this.compile(loss, targeted, Math.floor(batch / 2)))
    this.keep(key, smaller)
    const { batch: left } = await smaller
    this.exhausted.set(
      key,
      `${this.backend.name}: out of memory in an attack on ${loss} at a batch of ${this.images}, so it runs with ${left}`,
    )
  }

  private keep(key: string, program: Promise<Program>): void {
    this.programs.set(key, program)
    // Memory that another program took may be free the next time.
    program.catch(() => this.programs.delete(key))
  }

  private async compile(loss: LossName, targeted: boolean, batch: number): Promise<Program> {
    const { graph, preprocess, backend } = this.parts
    const forward = forwardGraph(graph, preprocess)
    const gradient = jointGraph(graph, { preprocess, loss, targeted })
    return backend.compile({ forward, gradient }, { batch, loss, targeted })
  }

  /** What the model is made of: blocks, FLOPs, parameters, memory. */
  inspect(): InspectResult {
    const { file, onnx, imported, notes } = this.parts
    return inspectModel({ file, model: onnx, graph: imported, notes })
  }

  async dispose(): Promise<void> {
    if (this.disposed) return
    this.disposed = true
    await this.backend.dispose()
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.dispose()
  }
}

const keyOf = ({ loss, targeted }: { loss: LossName; targeted: boolean }): string => `${loss} ${targeted}`

function automaticBatch(graph: Graph): number {
  const kept = Math.max(1, cost(graph).keptBytes)
  return Math.max(1, Math.min(LARGEST_BATCH, 2 ** Math.floor(Math.log2(ACTIVATION_BUDGET / kept))))
}
