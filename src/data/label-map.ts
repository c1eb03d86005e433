import { readFile } from 'node:fs/promises'
import { DataError, nearest } from '../errors/index.js'
import type { Dataset } from './dataset.js'
import { parseLabelTable } from './label-table.js'

/** Class name → class number of the model. */
export type LabelMap = ReadonlyMap<string, number>

/**
 * Reads a map from class names to class numbers: JSON (a list of names in order; names to numbers; or numbers to names, also several of a
 * class as in Keras' imagenet_class_index.json) or a table of name and number.
 * @throws DataError DATA_NOT_FOUND, DATA_INVALID
 */
export async function readLabelMap(path: string): Promise<LabelMap> {
  const text = await readFile(path, 'utf8').catch((cause) => {
    throw new DataError('DATA_NOT_FOUND', 'the label map cannot be read', {
      subject: path,
      found: String(cause),
      cause,
    })
  })
  const entries = /^\s*[[{]/.test(text) ? entriesOfJson(text, path) : entriesOfTable(text, path)
  const map = new Map<string, number>()
  for (const [name, label] of entries) {
    if (!Number.isInteger(label) || label < 0 || label > 0x7fffffff) throw invalid(path, `${name}: ${label}`)
    if ((map.get(name) ?? label) !== label)
      throw new DataError('DATA_INVALID', 'the label map gives a class two numbers', {
        subject: path,
        found: `${name}: ${map.get(name)} and ${label}`,
      })
    map.set(name, label)
  }
  if (map.size === 0) throw invalid(path, 'no class')
  return map
}

/**
 * The data set with the class numbers of the map in place of the order of its class names: for data of some of a model's classes only.
 * @throws DataError DATA_CLASSES naming the class that the map lacks
 */
export function withLabelMap(dataset: Dataset, map: LabelMap, file: string): Dataset {
  if (dataset.classes.length === 0)
    throw new DataError('DATA_CLASSES', 'the data have numbers for classes, no names to look up', {
      subject: dataset.name,
      expected: 'class folders or a table of names',
      cure: 'Leave --label-map out.',
    })
  const numbers = dataset.classes.map((name) => {
    const label = map.get(name)
    if (label !== undefined) return label
    const near = nearest(name, [...map.keys()])
    throw new DataError('DATA_CLASSES', 'the label map lacks a class of the data', {
      subject: file,
      expected: `a number for each of ${dataset.classes.length} classes`,
      found: name,
      cure: near && `Is it ${near}?`,
    })
  })
  const classes = Array.from({ length: Math.max(...numbers) + 1 }, (_, label) => `class ${label}`)
  for (const [i, label] of numbers.entries()) classes[label] = dataset.classes[i]
  return { ...dataset, classes, labels: dataset.labels.map((label) => numbers[label]) }
}

function entriesOfJson(text: string, path: string): [string, number][] {
  let content: unknown
  try {
    content = JSON.parse(text)
  } catch (cause) {
    throw invalid(path, cause instanceof Error ? cause.message : String(cause))
  }
  if (Array.isArray(content)) return content.map((name, label) => [String(name), label])
  return Object.entries(content as Record<string, unknown>).flatMap(([key, value]): [string, number][] => {
    if (typeof value === 'number') return [[key, value]]
    const names = Array.isArray(value) ? value : [value]
    if (!names.every((name) => typeof name === 'string')) throw invalid(path, `${key}: ${JSON.stringify(value)}`)
    return names.map((name) => [name, /^\d+$/.test(key) ? Number(key) : Number.NaN])
  })
}

function entriesOfTable(text: string, path: string): [string, number][] {
  const { files, labels, classes } = parseLabelTable(text, path)
  if (classes.length > 0) throw invalid(path, classes[0])
  return files.map((name, i) => [name, labels[i]])
}

const invalid = (path: string, found: string): DataError =>
  new DataError('DATA_INVALID', 'it is no label map', {
    subject: path,
    expected: 'JSON of names and class numbers (a list, name: number, or number: name), or a table of both',
    found: found.slice(0, 100),
  })
