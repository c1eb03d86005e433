import type { LabelLossName, LossName } from '../autodiff/index.js'

/** What the logits of a batch are judged by. */
export interface LossGoal {
  readonly labels: Int32Array
  /** Given: the targeted form, to be minimised. */
  readonly targets?: Int32Array
  /** [n, classes], for KL. */
  readonly referenceLogits?: Float32Array
}

/**
 * Per-sample losses [n] of logits [n, classes], the same functions as the loss nodes of the gradient graph, computed in float64 and
 * rounded once.
 */
export function lossOfLogits(
  loss: LossName,
  logits: Float32Array,
  classes: number,
  { labels, targets, referenceLogits }: LossGoal,
): Float32Array {
  const rowOf = (of: Float32Array, i: number): Float32Array => of.subarray(i * classes, (i + 1) * classes)
  return Float32Array.from(labels, (label, i) =>
    loss === 'kl'
      ? divergence(rowOf(referenceLogits as Float32Array, i), rowOf(logits, i))
      : lossOfRow(loss, rowOf(logits, i), label, targets?.[i]),
  )
}

/** The class of the highest logit of each row (the first of equals); −1 where a logit is NaN. */
export function predictionsOf(logits: Float32Array, classes: number): Int32Array {
  const predictions = new Int32Array(logits.length / classes)
  for (let i = 0; i < predictions.length; i++) {
    const row = logits.subarray(i * classes, (i + 1) * classes)
    let best = 0
    for (let k = 0; k < classes; k++) {
      if (row[k] > row[best]) best = k
      if (Number.isNaN(row[k])) {
        best = -1
        break
      }
    }
    predictions[i] = best
  }
  return predictions
}

function lossOfRow(loss: LabelLossName, row: Float32Array, label: number, target: number | undefined): number {
  const sorted = () => Float32Array.from(row).sort().reverse()
  switch (loss) {
    case 'cross-entropy':
      return logSumExp(row) - row[target ?? label]
    case 'margin': {
      if (target !== undefined) return highestExcept(row, target) - row[target]
      return highestExcept(row, label) - row[label]
    }
    case 'dlr': {
      const z = sorted()
      if (target !== undefined) return (row[label] - row[target]) / (z[0] - (z[2] + z[3]) / 2 + 1e-12)
      return (highestExcept(row, label) - row[label]) / (z[0] - z[2] + 1e-12)
    }
  }
}

/** KL(p ‖ q), p the softmax of `reference` and q that of `row`. */
function divergence(reference: Float32Array, row: Float32Array): number {
  const [ofP, ofQ] = [logSumExp(reference), logSumExp(row)]
  return row.reduce((sum, z, k) => {
    const logP = reference[k] - ofP
    return sum + Math.exp(logP) * (logP - (z - ofQ))
  }, 0)
}

function logSumExp(row: Float32Array): number {
  const highest = row.reduce((a, b) => Math.max(a, b))
  return highest + Math.log(row.reduce((total, z) => total + Math.exp(z - highest), 0))
}

function highestExcept(row: Float32Array, skipped: number): number {
  let highest = Number.NEGATIVE_INFINITY
  for (let k = 0; k < row.length; k++) if (k !== skipped && (row[k] > highest || Number.isNaN(row[k]))) highest = row[k]
  return highest
}
