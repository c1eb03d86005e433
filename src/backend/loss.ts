import type { LossName } from '../autodiff/index.js'

/**
 * Per-sample losses [n] of logits [n, classes], the same functions as the loss nodes of the gradient graph, computed in float64 and
 * rounded once. `targets` given: the targeted form, to be minimised.
 */
export function lossOfLogits(
  loss: LossName,
  logits: Float32Array,
  classes: number,
  labels: Int32Array,
  targets?: Int32Array,
): Float32Array {
  return Float32Array.from(labels, (label, i) =>
    lossOfRow(loss, logits.subarray(i * classes, (i + 1) * classes), label, targets?.[i]),
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

function lossOfRow(loss: LossName, row: Float32Array, label: number, target: number | undefined): number {
  const sorted = () => Float32Array.from(row).sort().reverse()
  switch (loss) {
    case 'cross-entropy': {
      const highest = row.reduce((a, b) => Math.max(a, b))
      const sum = row.reduce((total, z) => total + Math.exp(z - highest), 0)
      return highest + Math.log(sum) - row[target ?? label]
    }
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

function highestExcept(row: Float32Array, skipped: number): number {
  let highest = Number.NEGATIVE_INFINITY
  for (let k = 0; k < row.length; k++) if (k !== skipped && (row[k] > highest || Number.isNaN(row[k]))) highest = row[k]
  return highest
}
