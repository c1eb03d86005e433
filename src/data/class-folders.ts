import { DataError } from '../errors/index.js'
import type { Archive } from './archive.js'
import { decodeImage } from './decode.js'
import type { ImageSource } from './image-dataset.js'
import { imageFormats, isImageName, isOtherImageName } from './image-formats.js'

const splits = new Set(['train', 'training', 'test', 'testing', 'val', 'valid', 'validation', 'dev'])

/**
 * Images in one folder per class, as torchvision's ImageFolder reads them: classes are the sorted folder names, samples are
 * sorted by path within their class, folders in a class folder are searched too. A single folder around all class folders
 * (`split/class/name`) is looked through. Files outside class folders and those that are no images are ignored.
 * @throws DataError DATA_INVALID if there are no images, no class folders, or several splits
 */
export function classFolders(archive: Archive): ImageSource {
  const images = archive.files.filter(isImageName)
  refuseUnreadable(archive)
  if (images.length === 0)
    throw new DataError('DATA_INVALID', 'there are no images', {
      subject: archive.name,
      expected: `class/name.jpg: ${imageFormats}`,
      found: archive.files.length === 0 ? 'nothing' : `${archive.files.length} other files, as ${archive.files[0]}`,
      cure: layoutCure,
    })
  const samples = images.map((file) => ({ file, parts: file.split('/') })).filter(({ parts }) => parts.length > 1)
  if (samples.length === 0)
    throw new DataError('DATA_INVALID', 'there are no class folders', {
      subject: archive.name,
      expected: 'class/name.jpg',
      found: `${images.length} images at the top, as ${images[0]}`,
      cure: layoutCure,
    })
  const around = depthOfClasses(samples.map(({ parts }) => parts))
  const names = [...new Set(samples.map(({ parts }) => parts[around]))].sort()
  if (names.length > 1 && names.every((name) => splits.has(name.toLowerCase())))
    throw new DataError('DATA_INVALID', `the set has several splits: ${names.join(', ')}`, {
      subject: archive.name,
      expected: 'the class folders of one split',
      cure: `Give the folder of one split, as ${archive.name.replace(/\.zip$/i, '')}/${names[0]}`,
    })
  const labelOf = new Map(names.map((name, label) => [name, label]))
  const labelled = samples.map(({ file, parts }) => ({ file, label: labelOf.get(parts[around])! }))
  labelled.sort((a, b) => a.label - b.label || (a.file < b.file ? -1 : 1))
  return {
    name: archive.name,
    classes: names,
    labels: Int32Array.from(labelled, ({ label }) => label),
    file: (index) => labelled[index].file,
    load: async (index) =>
      decodeImage(await archive.read(labelled[index].file), `${archive.name}/${labelled[index].file}`),
    close: () => archive.close(),
  }
}

const layoutCure = 'Put the images of each class into a folder with its name'

/** How many folders surround all class folders. */
function depthOfClasses(paths: readonly (readonly string[])[]): number {
  let depth = 0
  while (paths.every((parts) => parts.length > depth + 2 && parts[depth] === paths[0][depth])) depth++
  return depth
}

/** Images left out in silence would change the result. */
function refuseUnreadable(archive: Archive): void {
  const others = archive.files.filter((file) => isOtherImageName(file) && file.includes('/'))
  if (others.length === 0) return
  throw new DataError('DATA_INVALID', `${others.length} images are of a format that is not read`, {
    subject: archive.name,
    expected: imageFormats,
    found: others[0],
    cure: 'Convert them to PNG, or remove them',
  })
}
