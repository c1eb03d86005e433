import { readFile } from 'node:fs/promises'
import { basename, dirname, extname, isAbsolute, join } from 'node:path'
import { DataError } from '../errors/index.js'
import type { Archive } from './archive.js'
import { decodeImage } from './decode.js'
import { readImageFile } from './folder-archive.js'
import type { ImageSource } from './image-dataset.js'
import { isImageName } from './image-formats.js'
import { type LabelTable, parseLabelTable } from './label-table.js'

const table = /\.(csv|tsv)$/i

/**
 * Images that a table names (parseLabelTable), paths from the folder of the table, or absolute ones.
 * @throws DataError DATA_INVALID
 */
export async function openListed(path: string): Promise<ImageSource> {
  const folder = dirname(path)
  const listed = parseLabelTable(await readFile(path, 'utf8'), path)
  return source(
    path,
    listed,
    (file) => readImageFile(isAbsolute(file) ? file : join(folder, file)),
    async () => {},
  )
}

/**
 * The images of a folder or zip that keeps them in one place beside a table instead of in folders of classes; undefined for others. A name
 * without an ending stands for the image of that name.
 * @throws DataError DATA_INVALID
 */
export async function listedArchive(archive: Archive): Promise<ImageSource | undefined> {
  const tables = archive.files.filter((file) => table.test(file) && !file.includes('/'))
  if (tables.length !== 1 || !inOnePlace(archive)) return undefined
  const name = `${archive.name}/${tables[0]}`
  const listed = parseLabelTable(new TextDecoder().decode(await archive.read(tables[0])), name)
  const present = new Set(archive.files)
  const files = listed.files.map((file) => found(file.replace(/^\.\//, ''), present, name))
  return source(
    archive.name,
    { ...listed, files },
    (file) => archive.read(file),
    () => archive.close(),
  )
}

/** The file itself, in any folder of the archive if there is just one of that name, with an ending if it has none. */
function found(file: string, present: ReadonlySet<string>, table: string): string {
  if (present.has(file)) return file
  const named = [...present].filter((name) => isImageName(name) && withoutEnding(name) === file)
  if (named.length === 1) return named[0]
  const below = [...present].filter((name) => basename(name) === file || withoutEnding(basename(name)) === file)
  if (below.length === 1) return below[0]
  throw new DataError('DATA_INVALID', 'the table names an image that is not there', {
    subject: table,
    expected: 'paths from the folder of the table',
    found: file,
    cure: 'Put the images beside the table, or write their paths into it',
  })
}

const withoutEnding = (file: string): string => file.slice(0, file.length - extname(file).length)

function source(
  name: string,
  { files, labels, classes }: LabelTable,
  read: (file: string) => Promise<Uint8Array>,
  close: () => Promise<void>,
): ImageSource {
  return {
    name,
    classes,
    labels,
    file: (index) => files[index],
    load: async (index) => decodeImage(await read(files[index]), files[index]),
    close,
  }
}

function inOnePlace({ files }: Archive): boolean {
  const images = files.filter(isImageName)
  return new Set(images.map((file) => dirname(file))).size === 1
}
