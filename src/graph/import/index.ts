import { ModelError } from '../../errors/index.js'
import { dtypeOf, type OnnxGraph, type OnnxModel, type OnnxNode } from '../../onnx/index.js'
import { type DType, elementCount, isFloat, numbersOf, type Tensor, tensorFromNumbers } from '../../tensor/index.js'
import { GraphBuilder } from '../builder.js'
import { dropUnused } from '../canonicalise/index.js'
import { N } from '../dim.js'
import { canInfer, infer } from '../inference/index.js'
import { type Attribute, type Attributes, Graph, type Value } from '../ir.js'
import { isTypeAttribute } from '../type-attributes.js'
import { batchStatistics } from './batch-statistics.js'
import type { Composition } from './composition.js'
import { compositions } from './compositions/index.js'
import { unrolled } from './control-flow.js'
import { type ImageInput, imageInput } from './image-input.js'
import { chooseLogits } from './logits.js'
import { Quantisation } from './quantised.js'
import { Rebatcher } from './rebatch.js'
import { runtimeFusions } from './runtime-fusions.js'

export interface ImportOptions {
  /** Height and width, for a model that leaves them open. */
  readonly inputSize?: readonly [number, number]
  /** The value that holds the logits. Default: the output named so, else the first that is a batch of numbers for classes. */
  readonly logits?: string
  /** Names the file in errors. */
  readonly file?: string
}

export interface ImportedModel {
  /** One input [N,C,H,W] float32, one output [N,classes] float32. Folded: no shape arithmetic is left but what N itself needs. */
  readonly graph: Graph
  /** The file's name of the output that was taken for the logits. */
  readonly logits: string
  /** Whether that output holds probabilities: the softmax behind the logits was taken off. */
  readonly probabilities: boolean
  /** Whether the file's own input is [N,H,W,C]. */
  readonly channelsLast: boolean
  /** Present where the file fixes its batch: the size it fixes, which was made free. */
  readonly rebatched: { readonly original: number } | undefined
  /** What a reader of results should know. */
  readonly notes: readonly string[]
}

/** Floats of any width are computed in float32. */
const promoted = (dtype: DType): DType => (isFloat(dtype) ? 'float32' : dtype)

/**
 * A model as read → the typed graph: N free, height and width fixed, everything folded that does not depend on the image.
 *
 * @throws ModelError MODEL_UNSUPPORTED (input, outputs, open sizes), OPERATOR_UNSUPPORTED, SHAPE_MISMATCH, NUMERIC (NaN or infinite weights)
 */
export function importModel(
  model: OnnxModel,
  { inputSize, logits, file = 'model' }: ImportOptions = {},
): ImportedModel {
  const image = imageInput(model.graph, inputSize, file)
  try {
    return translate(model.graph, image, logits, file)
  } catch (error) {
    const misfit = error instanceof ModelError && ['SHAPE_MISMATCH', 'MODEL_UNSUPPORTED'].includes(error.code)
    if (!misfit || typeof image.batch !== 'number') throw error
    throw new ModelError('MODEL_UNSUPPORTED', `the fixed batch of ${image.batch} could not be made free`, {
      subject: file,
      expected: 'samples that do not depend on each other',
      found: error.message.replace(`${file}: `, ''),
      cure: 'Export the model with a dynamic batch axis.',
      cause: error,
    })
  }
}

function translate(
  source: OnnxGraph,
  { name, batch, size, channelsLast }: ImageInput,
  wanted: string | undefined,
  file: string,
): ImportedModel {
  const rebatched = typeof batch === 'number' ? { original: batch } : undefined
  const b = new GraphBuilder(new Graph(source.name))
  b.reserve(source.initialisers.keys())
  const importer = new Importer(b, source, file, rebatched && new Rebatcher(b, rebatched.original))
  const images = b.input(name, 'float32', [N, ...size])
  importer.bind(name, channelsLast ? b.transpose(images, [0, 2, 3, 1]) : images)
  for (const node of source.nodes) importer.node(node)
  const notes: string[] = []
  if (rebatched) notes.push(`the file fixes its batch at ${rebatched.original}; it was made free`)
  if (channelsLast) notes.push('the file takes channels last; images are [N,C,H,W] here and are turned on their way in')
  const outputs = source.outputs.map((output) => ({ name: output.name, value: importer.value(output.name) }))
  const logits = chooseLogits(outputs, (value) => importer.find(value), { wanted, notes, file })
  const { estimated } = importer.quantisation
  if (estimated > 0)
    notes.push(
      `the model is quantised: gradients pass ${estimated} roundings by straight-through estimate, so attacks may be weaker than the model`,
    )
  b.graph.outputs.push(b.reshape(logits.value, logits.value.shape.slice(0, 2)))
  dropUnused(b.graph)
  checkWeights(b.graph, file)
  return { graph: b.graph, logits: logits.name, probabilities: logits.probabilities, channelsLast, rebatched, notes }
}

/** The names of a graph, or of one run of an inner graph, and what they stand for. */
interface Scope {
  readonly graph: OnnxGraph
  readonly values: Map<string, Value>
}

/** Translates the nodes of a file, in order. */
class Importer {
  readonly quantisation: Quantisation
  private readonly b: GraphBuilder
  private readonly file: string
  private readonly rebatcher: Rebatcher | undefined
  /** The innermost last. */
  private readonly scopes: Scope[]

  constructor(b: GraphBuilder, source: OnnxGraph, file: string, rebatcher: Rebatcher | undefined) {
    this.b = b
    this.quantisation = new Quantisation(b)
    this.scopes = [{ graph: source, values: new Map() }]
    this.file = file
    this.rebatcher = rebatcher
  }

  bind(name: string, value: Value): void {
    this.scopes[this.scopes.length - 1].values.set(name, value)
  }

  /** The value of that name; initialisers come into being when they are first used. */
  value(name: string): Value {
    const found = this.find(name)
    if (found !== undefined) return found
    throw new ModelError('MODEL_INVALID', 'a value is used that nothing makes', { subject: this.file, found: name })
  }

  find(name: string): Value | undefined {
    for (const { graph, values } of this.scopes.toReversed()) {
      const found = values.get(name) ?? this.initialiser(graph, name)
      if (found === undefined) continue
      values.set(name, found)
      return found
    }
    return undefined
  }

  private initialiser(graph: OnnxGraph, name: string): Value | undefined {
    const tensor = graph.initialisers.get(name)
    if (tensor === undefined) return undefined
    const own = promotedTensor(tensor)
    // Scalars written into the graph (scales, epsilons) are constants; arrays of floats are what training may change.
    return isFloat(own.dtype) && elementCount(own.shape) > 1 ? this.b.parameter(own, name) : this.b.constant(own, name)
  }

  /** The outputs of an inner graph, whose nodes are translated in place. */
  private run(graph: OnnxGraph, inputs: readonly Value[]): readonly Value[] {
    this.scopes.push({ graph, values: new Map(inputs.map((value, i) => [graph.inputs[i].name, value])) })
    try {
      for (const node of graph.nodes) this.node(node)
      return graph.outputs.map(({ name }) => this.value(name))
    } finally {
      this.scopes.pop()
    }
  }

  node(node: OnnxNode): void {
    try {
      this.translate(node)
    } catch (error) {
      if (!(error instanceof ModelError) || error.fault.subject?.includes(this.file)) throw error
      throw new ModelError(error.code, `node ${node.name || node.outputs[0]}: ${error.message}`, {
        subject: this.file,
        cause: error,
      })
    }
  }

  private translate(node: OnnxNode): void {
    const inputs = node.inputs.map((name) => (name === '' ? undefined : this.materialised(this.value(name))))
    const made =
      unrolled(node, inputs, this.b, (graph, own) => this.run(graph, own)) ??
      this.emit(node, inputs, attributesOf(node))
    this.rebatcher?.follow(
      inputs,
      made.filter((value) => value !== undefined),
    )
    for (const [i, name] of node.outputs.entries()) {
      const value = made[i]
      if (name !== '' && value !== undefined) this.bind(name, value)
    }
  }

  private emit(
    node: OnnxNode,
    inputs: readonly (Value | undefined)[],
    attributes: Attributes,
  ): readonly (Value | undefined)[] {
    const { b } = this
    const [x] = inputs
    if (node.domain === '' || node.domain === MICROSOFT) {
      const quantised = this.quantisation.emit(node.op, inputs, attributes)
      if (quantised !== undefined) return quantised
    }
    const composed = compositionOf(node)
    if (composed !== undefined) return b.within(node.name, () => composed({ b, inputs, attributes }))
    if (node.domain !== '') throw unknownDomain(node)
    const freed = this.rebatcher?.emit(node.op, inputs, attributes)
    if (freed !== undefined) return freed
    switch (node.op) {
      case 'Identity':
        if (x) return [x]
        break
      case 'Dropout':
        if (x) return [x]
        break
      case 'Cast':
        // Casts between floats of different width have nothing left to do.
        if (x && x.dtype === attributes.to) return [x]
        break
      case 'Reshape':
        if (x) return [b.reshape(x, infer('Reshape', inputs, attributes, 1)[0].shape)]
        break
      case 'Expand':
        if (x) return [b.expand(x, infer('Expand', inputs, attributes, 1)[0].shape)]
        break
      case 'Concat':
        if (x && inputs.length === 1) return [x]
        break
      case 'BatchNormalization':
        if (attributes.training_mode === 1) return batchStatistics(b, inputs as readonly Value[], attributes)
        break
      case 'Transpose':
        if (x)
          return [
            b.transpose(x, (attributes.perm as number[] | undefined) ?? x.shape.map((_, i) => x.shape.length - 1 - i)),
          ]
        break
    }
    return b.emitAll(node.op, inputs, attributes, node.outputs.length)
  }

  /** A shape that is known but for N → a fresh value made of constants and N alone, so that the file's way to it is dropped. */
  private materialised(value: Value): Value {
    if (value.constant !== undefined || value.known === undefined || value.dtype !== 'int64' || value.shape.length > 1)
      return value
    const vector = this.b.shapeVector(value.known)
    return value.shape.length === 1 ? vector : this.b.reshape(vector, [])
  }
}

/** How a node is read as several others, if it is. Some fusions of ONNX Runtime are written without its domain. */
function compositionOf({ op, domain }: OnnxNode): Composition | undefined {
  if (domain === '' && Object.hasOwn(compositions, op)) return compositions[op]
  const fused = domain === MICROSOFT || (domain === '' && !canInfer(op))
  return fused && Object.hasOwn(runtimeFusions, op) ? runtimeFusions[op] : undefined
}

/** Where ONNX Runtime keeps the operators that its optimiser makes. */
const MICROSOFT = 'com.microsoft'

function unknownDomain({ op, domain }: OnnxNode): ModelError {
  const layout = domain === `${MICROSOFT}.nchwc`
  return new ModelError('OPERATOR_UNSUPPORTED', `operator ${op} of domain ${domain} is not known`, {
    expected: "operators of the standard's own domain, or fusions of ONNX Runtime's optimiser",
    found: op,
    cure: layout
      ? 'The file was optimised for one processor: save it with ORT_ENABLE_EXTENDED, or take the model as it was before.'
      : 'Export the model without runtime-specific optimisation.',
  })
}

function attributesOf(node: OnnxNode): Attributes {
  const out: Record<string, Attribute> = {}
  for (const [name, attribute] of Object.entries(node.attributes)) {
    if (isTypeAttribute(node.op, name)) {
      const dtype = dtypeOf(attribute as number)
      if (dtype === undefined)
        throw new ModelError('OPERATOR_UNSUPPORTED', 'element type that is not known', { found: String(attribute) })
      out[name] = promoted(dtype)
    } else if (typeof attribute === 'object' && 'nodes' in attribute) {
      throw new ModelError('OPERATOR_UNSUPPORTED', 'control flow is not supported', { found: node.op })
    } else if (typeof attribute === 'object' && 'dtype' in attribute) {
      out[name] = promotedTensor(attribute)
    } else {
      out[name] = attribute as Attribute
    }
  }
  return out
}

function promotedTensor(tensor: Tensor): Tensor {
  if (!isFloat(tensor.dtype) || tensor.dtype === 'float32') return tensor
  return tensorFromNumbers('float32', tensor.shape, numbersOf(tensor))
}

function checkWeights(graph: Graph, file: string): void {
  const seen = new Set<Value>()
  for (const node of graph.nodes)
    for (const input of node.inputs) {
      if (!input?.parameter || seen.has(input)) continue
      seen.add(input)
      const data = input.constant?.data as Float32Array
      if (allFinite(data)) continue
      const bad = data.findIndex((value) => !Number.isFinite(value))
      throw new ModelError('NUMERIC', 'a weight is not finite', {
        subject: file,
        expected: 'finite numbers',
        found: `${data[bad]} at element ${bad} of ${input.name}`,
        cure: 'Export the model again from a checkpoint that trained well.',
      })
    }
}

/** 0 times anything finite is 0, times NaN or infinity NaN: no branch an element, a nanosecond each. */
function allFinite(data: Float32Array): boolean {
  let sum = 0
  for (let i = 0; i < data.length; i++) sum += data[i] * 0
  return sum === 0
}
