import { ModelError } from '../errors/index.js'
import type { GraphBuilder, Value } from '../graph/index.js'
import { int64Tensor } from '../tensor/index.js'
import type { LabelLossName } from './loss-name.js'

/** Stands for −∞ where a class is left out of a maximum: finite, so that no 0·∞ can arise. */
const EXCLUDED = -3e38
/** Croce & Hein 2020 keep the denominator of DLR from zero with this. */
const DLR_EPSILON = 1e-12

/**
 * Appends the loss [N] of logits [N,K] for class numbers `labels` [N] (int64). Untargeted losses are to be maximised. With `targets`
 * [N] the targeted form, to be minimised: cross-entropy and margin of the target, DLR (z_y − z_t)/(z₍₁₎ − (z₍₃₎+z₍₄₎)/2) (eq. 7).
 */
export function lossOf(b: GraphBuilder, name: LabelLossName, logits: Value, labels: Value, targets?: Value): Value {
  const classes = logits.shape[1] as number
  const goal = targets ?? labels
  switch (name) {
    case 'cross-entropy':
      return b.neg(pick(b, b.emit('LogSoftmax', [logits], { axis: -1 }), oneHot(b, goal, classes)))
    case 'margin': {
      needClasses(name, classes, 2)
      return marginOf(b, logits, oneHot(b, goal, classes))
    }
    case 'dlr': {
      if (targets === undefined) {
        needClasses(name, classes, 3)
        const [first, , third] = largest(b, logits, 3)
        return b.div(marginOf(b, logits, oneHot(b, labels, classes)), b.add(b.sub(first, third), DLR_EPSILON))
      }
      needClasses('targeted dlr', classes, 4)
      const [first, , third, fourth] = largest(b, logits, 4)
      const difference = b.sub(
        pick(b, logits, oneHot(b, labels, classes)),
        pick(b, logits, oneHot(b, targets, classes)),
      )
      return b.div(difference, b.add(b.sub(first, b.mul(b.add(third, fourth), 0.5)), DLR_EPSILON))
    }
  }
}

/** Appends KL(p ‖ q) [N] = Σ p·(log p − log q), p the softmax of `reference` [N,K] and q that of `logits` [N,K]. */
export function klDivergence(b: GraphBuilder, logits: Value, reference: Value): Value {
  const logSoftmax = (z: Value): Value => b.emit('LogSoftmax', [z], { axis: -1 })
  const logP = logSoftmax(reference)
  return b.reduceSum(b.mul(b.emit('Exp', [logP]), b.sub(logP, logSoftmax(logits))), [1], false)
}

function needClasses(loss: string, found: number, least: number): void {
  if (found >= least) return
  throw new ModelError('DATA_CLASSES', 'the loss needs more classes than the model has', {
    subject: loss,
    expected: `at least ${least}`,
    found: String(found),
    cure: 'Use --loss cross-entropy.',
  })
}

/** [N,K] booleans: true at the class. */
function oneHot(b: GraphBuilder, labels: Value, classes: number): Value {
  const numbers = b.constant(
    int64Tensor(
      Array.from({ length: classes }, (_, i) => i),
      [1, classes],
    ),
    'classes',
  )
  return b.emit('Equal', [b.reshape(labels, [labels.shape[0], 1]), numbers])
}

const pick = (b: GraphBuilder, rows: Value, chosen: Value): Value =>
  b.reduceSum(b.mul(rows, b.cast(chosen, 'float32')), [1], false)

/** max over the other classes minus the class itself. */
function marginOf(b: GraphBuilder, logits: Value, chosen: Value): Value {
  const others = b.reduceMax(b.emit('Where', [chosen, b.scalar(EXCLUDED), logits]), [1], false)
  return b.sub(others, pick(b, logits, chosen))
}

/** The k largest logits of each row, as k values [N]. */
function largest(b: GraphBuilder, logits: Value, k: number): Value[] {
  const [values] = b.emitAll('TopK', [logits, b.ints([k])], { axis: -1 }, 2)
  return Array.from({ length: k }, (_, i) => b.reshape(b.slice(values, [i], [i + 1], [1]), [logits.shape[0]]))
}
