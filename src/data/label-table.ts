import { DataError } from '../errors/index.js'

/** Files and their labels, as a table names them. */
export interface LabelTable {
  readonly files: readonly string[]
  readonly labels: Int32Array
  /** Class names in label order; empty where the table holds numbers. */
  readonly classes: readonly string[]
}

const fileColumn = /^(file|file_?name|file_?path|path|image|image_?path|image_?id|img|name|id)$/i
const labelColumn = /^(label|labels|class|class_?(name|id)?|target|category|y)$/i

/**
 * Reads a table of images: CSV or TSV (with a header that names the columns, or file and label in that order), or lines of
 * `path label` with blanks between. Labels are class numbers, or names: then the classes are the sorted names.
 * @throws DataError DATA_INVALID naming the line
 */
export function parseLabelTable(text: string, name: string): LabelTable {
  const rows = rowsOf(text.replace(/^\ufeff/, ''))
  if (rows.length === 0) throw invalid(name, 'it has no lines', 'a file and its label on each line', 'nothing')
  const header = rows[0].cells
  const places = [fileColumn, labelColumn].map((pattern) => header.findIndex((cell) => pattern.test(cell)))
  const named = places.every((place) => place >= 0)
  const [fileAt, labelAt] = named ? places : [0, 1]
  const entries = rows.slice(named ? 1 : 0).map(({ cells, line }) => {
    const [file, label] = [cells[fileAt], cells[labelAt]]
    if (file && label && (named || cells.length === 2)) return { file, label }
    throw invalid(
      `${name}, line ${line}`,
      'it does not name a file and its label',
      named ? `values under ${header[fileAt]} and ${header[labelAt]}` : 'a header with file and label, or two columns',
      cells.join(','),
    )
  })
  if (entries.length === 0) throw invalid(name, 'it names no images', 'a line for each image', 'a header alone')
  const files = entries.map(({ file }) => file)
  if (entries.every(({ label }) => /^\d{1,9}$/.test(label)))
    return { files, labels: Int32Array.from(entries, ({ label }) => Number(label)), classes: [] }
  const classes = [...new Set(entries.map(({ label }) => label))].sort()
  const labelOf = new Map(classes.map((label, i) => [label, i]))
  return { files, labels: Int32Array.from(entries, ({ label }) => labelOf.get(label) as number), classes }
}

interface Row {
  readonly cells: readonly string[]
  /** Counted from 1. */
  readonly line: number
}

function rowsOf(text: string): Row[] {
  const lines = text.split(/\r?\n/)
  const first = lines.find((line) => line.trim() !== '') ?? ''
  const separator = first.includes('\t') ? '\t' : first.includes(',') ? ',' : undefined
  return lines.flatMap((text, i) => {
    if (text.trim() === '') return []
    return [{ line: i + 1, cells: separator === undefined ? atLastBlank(text) : cellsOf(text, separator) }]
  })
}

/** A path may have blanks in it, a label in such a list has none. */
function atLastBlank(line: string): string[] {
  const match = /^(.*\S)\s+(\S+)$/.exec(line.trim())
  return match === null ? [line.trim()] : [match[1], match[2]]
}

/** The cells of one line; quotes as in RFC 4180, without line breaks inside. */
function cellsOf(line: string, separator: string): string[] {
  const cells: string[] = []
  for (let at = 0; at <= line.length; ) {
    if (line[at] === '"') {
      const end = /^(?:[^"]|"")*/.exec(line.slice(at + 1))?.[0].length ?? 0
      cells.push(line.slice(at + 1, at + 1 + end).replaceAll('""', '"'))
      const next = line.indexOf(separator, at + 1 + end)
      at = next < 0 ? line.length + 1 : next + 1
    } else {
      const next = line.indexOf(separator, at)
      cells.push(line.slice(at, next < 0 ? undefined : next).trim())
      at = next < 0 ? line.length + 1 : next + 1
    }
  }
  return cells
}

const invalid = (subject: string, what: string, expected: string, found: string): DataError =>
  new DataError('DATA_INVALID', what, { subject, expected, found })
