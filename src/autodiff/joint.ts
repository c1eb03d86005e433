import { ModelError } from '../errors/index.js'
import { type Dim, Graph, GraphBuilder, type Value } from '../graph/index.js'
import { differentiate } from './differentiate.js'
import { inline } from './inline.js'
import { checkLoss, type LossName } from './loss-name.js'
import { klDivergence, lossOf } from './losses.js'
import { type Preprocess, preprocessed } from './preprocess.js'

export interface JointOptions {
  readonly preprocess: Preprocess
  readonly loss: LossName
  /** The targeted form of the loss; the graph gets a third input `targets`. */
  readonly targeted: boolean
  /** Parameters whose gradient is wanted: all, or those whose name matches. */
  readonly parameters?: true | RegExp
  /** Default true. */
  readonly inputGradient?: boolean
}

/**
 * Forward, loss and backward in one graph. Inputs `images` [N,C,H,W] in [0,1], `labels` int64 [N], and `targets` int64 [N] for a
 * targeted loss; for KL, which knows no label, `images` and `reference_logits` [N,K]. Outputs `logits` [N,K], `loss` [N], `input_gradient` [N,C,H,W] = d loss_i/d image_i (samples are independent in eval
 * mode, so one backward of the sum serves all), and `grad:<parameter>` of the mean loss.
 */
export function jointGraph(model: Graph, options: JointOptions): Graph {
  checkLoss(options.loss, options.targeted)
  const { b, images, logits } = forward(model, options.preprocess)
  const batch = logits.shape[0]
  const loss = lossIn(b, logits, options)
  const parameters = options.parameters === undefined ? [] : parametersOf(b.graph, options.parameters)
  const wrt = options.inputGradient === false ? parameters : [images, ...parameters]
  const gradients = differentiate(b, new Map([[loss, ones(b, batch)]]), wrt)
  const outputs: [string, Value][] = [
    ['logits', logits],
    ['loss', loss],
  ]
  if (options.inputGradient !== false) {
    const gradient = gradients.shift()
    if (gradient === undefined)
      throw new ModelError('MODEL_UNSUPPORTED', 'the logits do not depend on the image', { subject: model.name })
    outputs.push(['input_gradient', gradient])
  }
  for (const [i, parameter] of parameters.entries()) {
    const gradient = gradients[i]
    if (gradient !== undefined) outputs.push([`grad:${parameter.name}`, meanOver(b, gradient, batch)])
  }
  nameOutputs(b, outputs)
  return b.graph
}

/** The loss [N], and the graph inputs that it needs beside the logits. */
function lossIn(b: GraphBuilder, logits: Value, { loss, targeted }: JointOptions): Value {
  if (loss === 'kl') {
    const reference = b.input('reference_logits', 'float32', logits.shape)
    return b.within('loss', () => klDivergence(b, logits, reference))
  }
  const [batch] = logits.shape
  const labels = b.input('labels', 'int64', [batch])
  const targets = targeted ? b.input('targets', 'int64', [batch]) : undefined
  return b.within('loss', () => lossOf(b, loss, logits, labels, targets))
}

/** Images [N,C,H,W] in [0,1] → `logits`. */
export function forwardGraph(model: Graph, preprocess: Preprocess): Graph {
  const { b, logits } = forward(model, preprocess)
  nameOutputs(b, [['logits', logits]])
  return b.graph
}

function forward(model: Graph, preprocess: Preprocess): { b: GraphBuilder; images: Value; logits: Value } {
  const [input] = model.inputs
  const b = new GraphBuilder(new Graph(model.name))
  const images = b.input('images', 'float32', input.shape)
  const [logits] = inline(b, model, [b.within('preprocess', () => preprocessed(b, images, preprocess))])
  return { b, images, logits }
}

const ones = (b: GraphBuilder, batch: Dim): Value => b.full([batch], 1)

/** Divides by the batch size: the sum over samples becomes the mean. */
function meanOver(b: GraphBuilder, gradient: Value, batch: Dim): Value {
  if (typeof batch === 'number') return b.mul(gradient, 1 / batch)
  return b.div(gradient, b.cast(b.reshape(b.batchSize(batch.factor), []), 'float32'))
}

/** Floats of the model file that the graph uses, in order of first use. */
function parametersOf(graph: Graph, wanted: true | RegExp): Value[] {
  const found = new Set<Value>()
  for (const node of graph.nodes)
    for (const input of node.inputs)
      if (input?.parameter && input.dtype === 'float32' && (wanted === true || wanted.test(input.name)))
        found.add(input)
  return [...found]
}

/** Gives the outputs their public names; whatever bore one of them inside steps aside. */
function nameOutputs(b: GraphBuilder, outputs: readonly (readonly [string, Value])[]): void {
  const names = new Map(outputs.map(([name, value]) => [name, value]))
  for (const node of b.graph.nodes)
    for (const value of [...node.inputs, ...node.outputs])
      if (value !== undefined && names.has(value.name) && names.get(value.name) !== value && !value.parameter)
        value.name = `${value.name}_inner`
  const taken = new Set<Value>(b.graph.inputs)
  for (const [name, value] of outputs) {
    // One value under two names, or an input that is an output, needs a node of its own.
    const own = taken.has(value) ? b.emit('Identity', [value]) : value
    taken.add(own)
    own.name = name
    b.graph.outputs.push(own)
  }
}
