import { extname } from 'node:path'
import { DataError } from '../errors/index.js'
import type { Archive } from './archive.js'
import { decodeImage } from './decode.js'
import type { ImageSource } from './image-dataset.js'
import { isImageName } from './image-formats.js'

/**
 * WebDataset's layout: files of one sample share their path up to the first dot of the name; `.cls` holds the class number as text, or
 * `.json` an object with `label`, `cls` or `class`. Undefined for an archive without such labels.
 * @throws DataError DATA_INVALID naming the sample whose label is missing or no class number
 */
export async function webDataset(archive: Archive): Promise<ImageSource | undefined> {
  const samples = new Map<string, { image?: string; label?: string }>()
  for (const file of archive.files) {
    const key = keyOf(file)
    const sample = samples.get(key) ?? {}
    samples.set(key, sample)
    if (isImageName(file)) sample.image = file
    else if (['.cls', '.json'].includes(extname(file).toLowerCase())) sample.label = file
  }
  const labelled = [...samples.values()].filter((sample) => sample.image !== undefined)
  if (!labelled.some(({ label }) => label !== undefined)) return undefined
  const files = labelled.map((sample) => sample.image as string)
  const labels = new Int32Array(files.length)
  for (const [i, { label }] of labelled.entries()) labels[i] = await labelOf(archive, files[i], label)
  return {
    name: archive.name,
    classes: [],
    labels,
    file: (index) => files[index],
    load: async (index) => decodeImage(await archive.read(files[index]), `${archive.name}/${files[index]}`),
    close: () => archive.close(),
  }
}

function keyOf(file: string): string {
  const name = file.lastIndexOf('/') + 1
  const dot = file.indexOf('.', name)
  return dot < 0 ? file : file.slice(0, dot)
}

async function labelOf(archive: Archive, image: string, file: string | undefined): Promise<number> {
  const text = file === undefined ? '' : new TextDecoder().decode(await archive.read(file)).trim()
  const found = file?.toLowerCase().endsWith('.json') ? inJson(text) : text
  if (/^\d{1,9}$/.test(found)) return Number(found)
  throw new DataError('DATA_INVALID', 'the sample has no class number', {
    subject: `${archive.name}/${image}`,
    expected: 'a .cls file with a whole number, or .json with `label`',
    found: file === undefined ? 'neither' : found.slice(0, 80) || 'nothing',
  })
}

function inJson(text: string): string {
  try {
    const content = JSON.parse(text)
    return String(content?.label ?? content?.cls ?? content?.class ?? '')
  } catch {
    return text
  }
}
