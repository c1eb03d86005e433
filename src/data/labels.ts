import { DataError } from '../errors/index.js'
import type { Dataset } from './dataset.js'

/**
 * Checks the labels against the logits of a model.
 * @throws DataError DATA_CLASSES naming the first sample that does not fit
 */
export function checkLabels(dataset: Dataset, classes: number): void {
  const misfit = dataset.labels.findIndex((label) => label < 0 || label >= classes)
  const folders = dataset.classes.length
  if (misfit < 0 && folders <= classes) return
  if (folders > classes)
    throw new DataError('DATA_CLASSES', 'the data set has more classes than the model', {
      subject: dataset.name,
      expected: `at most ${classes}, one per logit`,
      found: `${folders}`,
      cure: 'Use the data set that the model was trained on; the sorted folder names are the classes',
    })
  throw new DataError('DATA_CLASSES', 'the label is no class of the model', {
    subject: `${dataset.name} (${dataset.file(misfit)})`,
    expected: `0 … ${classes - 1}`,
    found: `${dataset.labels[misfit]}`,
    cure: 'Use the data set that the model was trained on',
  })
}
