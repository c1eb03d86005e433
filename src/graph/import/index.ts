import { ModelError, OptionError } from '../../errors/index.js'
import { dtypeOf, type OnnxGraph, type OnnxModel, type OnnxNode, type OnnxValueInfo } from '../../onnx/index.js'
import { type DType, elementCount, isFloat, numbersOf, type Tensor, tensorFromNumbers } from '../../tensor/index.js'
import { GraphBuilder } from '../builder.js'
import { dropUnused } from '../canonicalise/index.js'
import { type Dim, isBatch, N, showShape } from '../dim.js'
import { canInfer, infer } from '../inference/index.js'
import { type Attribute, type Attributes, Graph, type Value } from '../ir.js'
import { isTypeAttribute } from '../type-attributes.js'
import { batchStatistics } from './batch-statistics.js'
import { unrolled } from './control-flow.js'
import { Quantisation } from './quantised.js'
import { Rebatcher } from './rebatch.js'
import { expandFusion } from './runtime-fusions.js'

export interface ImportOptions {
  /** Height and width, for a model that leaves them open. */
  readonly inputSize?: readonly [number, number]
  /** Names the file in errors. */
  readonly file?: string
}

export interface ImportedModel {
  /** One input [N,C,H,W] float32, one output [N,classes] float32. Folded: no shape arithmetic is left but what N itself needs. */
  readonly graph: Graph
  /** The file's name of the output that was taken for the logits. */
  readonly logits: string
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
export function importModel(model: OnnxModel, { inputSize, file = 'model' }: ImportOptions = {}): ImportedModel {
  const image = imageInput(model.graph, file)
  const shape = inputShape(image, inputSize, file)
  try {
    return translate(model.graph, image, shape, file)
  } catch (error) {
    const misfit = error instanceof ModelError && ['SHAPE_MISMATCH', 'MODEL_UNSUPPORTED'].includes(error.code)
    if (!misfit || typeof shape[0] !== 'number') throw error
    throw new ModelError('MODEL_UNSUPPORTED', `the fixed batch of ${shape[0]} could not be made free`, {
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
  image: OnnxValueInfo,
  [batch, ...imageSize]: readonly [number | string, number, number, number],
  file: string,
): ImportedModel {
  const rebatched = typeof batch === 'number' ? { original: batch } : undefined
  const b = new GraphBuilder(new Graph(source.name))
  b.reserve(source.initialisers.keys())
  const importer = new Importer(b, source, file, rebatched && new Rebatcher(b, rebatched.original))
  importer.bind(image.name, b.input(image.name, 'float32', [N, ...imageSize]))
  for (const node of source.nodes) importer.node(node)
  const notes: string[] = []
  if (rebatched) notes.push(`the file fixes its batch at ${rebatched.original}; it was made free`)
  const logits = chooseLogits(source, importer, notes, file)
  const { estimated } = importer.quantisation
  if (estimated > 0)
    notes.push(
      `the model is quantised: gradients pass ${estimated} roundings by straight-through estimate, so attacks may be weaker than the model`,
    )
  b.graph.outputs.push(flatLogits(b, logits.value))
  dropUnused(b.graph)
  checkWeights(b.graph, file)
  return { graph: b.graph, logits: logits.name, rebatched, notes }
}

function imageInput(graph: OnnxGraph, file: string): OnnxValueInfo {
  const [first, second] = graph.inputs
  const described = graph.inputs.map(({ name, shape }) => `${name} [${shape?.join(',') ?? '?'}]`).join(', ')
  if (first === undefined || second !== undefined)
    throw new ModelError('MODEL_UNSUPPORTED', 'the model must have exactly one input, the image', {
      subject: file,
      expected: 'one input [N,C,H,W]',
      found: described || 'none',
    })
  if (first.shape?.length !== 4 || (first.dtype !== undefined && !isFloat(first.dtype)))
    throw new ModelError('MODEL_UNSUPPORTED', 'the input is no batch of images', {
      subject: file,
      expected: 'floats [N,C,H,W]',
      found: `${first.dtype ?? 'untyped'} ${described}`,
    })
  return first
}

/** [batch, C, H, W] with C, H and W as numbers; the batch as the file gives it. */
function inputShape(
  { name, shape = [] }: OnnxValueInfo,
  wanted: readonly [number, number] | undefined,
  file: string,
): [number | string, number, number, number] {
  const [batch, channels, ...spatial] = shape
  if (typeof channels !== 'number' || channels > 16)
    throw new ModelError('MODEL_UNSUPPORTED', 'the channels of the input are not its second axis', {
      subject: file,
      expected: '[N,C,H,W] with a fixed number of channels',
      found: `${name} [${shape.join(',')}]`,
      cure: 'Export the model with channels first.',
    })
  const [height, width] = spatial.map((size, i) => {
    if (typeof size !== 'number') {
      if (wanted !== undefined) return wanted[i]
      throw new ModelError('MODEL_UNSUPPORTED', 'height and width are open', {
        subject: file,
        expected: 'a fixed size',
        found: `${name} [${shape.join(',')}]`,
        cure: 'Fix them with --input-size, as 224 or 224x320.',
      })
    }
    if (wanted !== undefined && wanted[i] !== size)
      throw new OptionError('OPTION_INVALID', 'is not the size the model fixes', {
        subject: '--input-size',
        expected: `${spatial.join('x')}`,
        found: wanted.join('x'),
      })
    return size
  })
  return [batch, channels, height, width]
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
    for (const { graph, values } of this.scopes.toReversed()) {
      const found = values.get(name) ?? this.initialiser(graph, name)
      if (found === undefined) continue
      values.set(name, found)
      return found
    }
    throw new ModelError('MODEL_INVALID', 'a value is used that nothing makes', { subject: this.file, found: name })
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
    if (node.domain === MICROSOFT || (node.domain === '' && !canInfer(node.op))) {
      const expanded = b.within(node.name, () => expandFusion(node.op, { b, inputs, attributes }))
      if (expanded !== undefined) return expanded
    }
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

/** The 2-D output (or [N,K,1,1]); of several, the one named logits, else the first. */
function chooseLogits(
  source: OnnxGraph,
  importer: Importer,
  notes: string[],
  file: string,
): { name: string; value: Value } {
  const outputs = source.outputs.map(({ name }) => ({ name, value: importer.value(name) }))
  const candidates = outputs.filter(
    ({ value: { dtype, shape } }) =>
      isFloat(dtype) &&
      isBatch(shape[0] ?? 0) &&
      typeof shape[1] === 'number' &&
      shape[1] > 1 &&
      shape.slice(2).every((dim) => dim === 1),
  )
  const chosen = candidates.find(({ name }) => /logit/i.test(name)) ?? candidates[0]
  if (chosen === undefined)
    throw new ModelError('MODEL_UNSUPPORTED', 'no output is a batch of logits', {
      subject: file,
      expected: 'floats [N,classes]',
      found: outputs.map(({ name, value }) => `${name} ${showShape(value.shape)}`).join(', '),
    })
  if (outputs.length > 1) notes.push(`of ${outputs.length} outputs, ${chosen.name} was taken for the logits`)
  if (chosen.value.producer?.op === 'Softmax')
    notes.push(
      'the model ends in Softmax: its output is probabilities, not logits, and gradients vanish where it is sure',
    )
  return chosen
}

const flatLogits = (b: GraphBuilder, logits: Value): Value => b.reshape(logits, logits.shape.slice(0, 2) as Dim[])

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
