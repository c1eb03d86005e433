import { differentiate, type LossName } from '../../autodiff/index.js'
import { Graph, GraphBuilder } from '../../graph/index.js'
import { Constants } from './constants.js'
import { fuse } from './fuse.js'
import { lower, needed } from './lower.js'
import { uncovered } from './lowering.js'
import { lossGradient, ownRules } from './own-operators.js'
import { writePlan } from './plan-writer.js'
import { type KernelProgram, lossCodes, PlanBuffer } from './program.js'
import { elementsOf } from './view.js'

export interface PlanOptions {
  readonly loss: LossName
  readonly targeted: boolean
  /** LayerNorms are folded into the products beside them: true unless said otherwise, see `foldsNorms`. */
  readonly foldNorms?: boolean
}

/**
 * The kernel program of a classifier, `forward` being its graph images [N,C,H,W] → logits [N,classes] with preprocessing: forward pass,
 * loss and the gradient back to the image.
 *
 * @throws ModelError OPERATOR_UNSUPPORTED naming the first node that no kernel covers
 */
export function compileProgram(forward: Graph, { loss, targeted, foldNorms = true }: PlanOptions): KernelProgram {
  const b = new GraphBuilder(new Graph(forward.name))
  const { images, logits } = fuse(b, forward)
  const classes = logits.shape[1] as number
  const [imageGradient] = differentiate(b, new Map([[logits, lossGradient(b, logits)]]), [images], ownRules)
  if (imageGradient === undefined) throw uncovered(forward.name, 'logits that do not depend on the image')

  const [, channels, height, width] = images.shape as [unknown, number, number, number]
  const users = needed(b.graph, [logits]).filter(({ inputs }) => inputs.includes(images))
  const patched = users.every(({ op }) => op === 'signstep.Patches')
  const ends = {
    input: new PlanBuffer('value', elementsOf(images.shape)),
    logits: new PlanBuffer('float32', elementsOf(logits.shape)),
    imageGradient: new PlanBuffer('float32', elementsOf(images.shape)),
  }
  const shared = {
    graph: b.graph,
    images,
    logits,
    ends,
    constants: new Constants(),
    loss: { code: lossCodes[loss], targeted, classes },
    foldNorms,
  }
  return {
    image: [channels, height, width],
    classes,
    layout: patched ? 'patches' : 'planes',
    patch: patched ? (users[0].attributes.side as number) : 0,
    loss,
    targeted,
    ...ends,
    forward: lower({ ...shared, imageGradient: undefined }),
    gradient: lower({ ...shared, imageGradient }),
  }
}

/** The same as a plan file's bytes; `source` says where it comes from, for people. */
export function compilePlan(forward: Graph, options: PlanOptions, source = forward.name): Uint8Array {
  return writePlan(compileProgram(forward, options), source)
}
