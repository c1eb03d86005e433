import { type FileHandle, open } from 'node:fs/promises'
import { isAbsolute, join, normalize, sep, win32 } from 'node:path'
import { ModelError } from '../errors/index.js'
import { bytesOf } from './element-types.js'
import { readRange } from './files.js'
import type { AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto } from './schema.js'
import { tensorHeader } from './tensors.js'

/** TensorProto.DataLocation */
const EXTERNAL = 1

/**
 * Reads the tensors that lie in other files into `rawData`. Tensors that share a stretch of a file share its bytes.
 * @param directory the model's own; undefined for a model that came as bytes alone.
 * @throws ModelError MODEL_EXTERNAL_DATA naming the tensor, where the file is missing, too short or outside the folder.
 */
export async function loadExternalData(
  model: ModelProto,
  directory: string | undefined,
  source: string,
): Promise<void> {
  const files = new Map<string, FileHandle>()
  const stretches = new Map<string, Uint8Array>()
  try {
    for (const tensor of tensorsOf(model)) {
      if (tensor.dataLocation !== EXTERNAL) continue
      const subject = `${source}, tensor '${tensor.name ?? ''}'`
      const { path, offset, length } = placeOf(tensor, directory, subject)
      const key = `${offset}:${length}:${path}`
      let bytes = stretches.get(key)
      if (bytes === undefined) {
        let file = files.get(path)
        if (file === undefined) {
          file = await openData(path, subject)
          files.set(path, file)
        }
        bytes = await readStretch(file, path, offset, length, subject)
        stretches.set(key, bytes)
      }
      tensor.rawData = bytes
    }
  } finally {
    await Promise.all([...files.values()].map((file) => file.close()))
  }
}

function placeOf(
  tensor: TensorProto,
  directory: string | undefined,
  subject: string,
): { path: string; offset: number; length: number } {
  const entries = new Map(tensor.externalData.map(({ key, value }) => [key, value ?? '']))
  const location = entries.get('location') ?? ''
  if (directory === undefined) {
    throw refused(subject, `its data are in the file '${location}', and the model came without a folder`, {
      cure: 'Load the model from its path.',
    })
  }
  // A file of another's making must not be able to read what it likes: no absolute path, no way up, on any system.
  const relative = normalize(location)
  const leaves = isAbsolute(location) || win32.isAbsolute(location) || location.split(/[\\/]/).includes('..')
  if (location === '' || leaves || relative.endsWith(sep) || location.includes('\0')) {
    throw refused(subject, 'its data are not in a file of the model’s folder', {
      expected: 'a path inside the folder of the model',
      found: `'${location}'`,
      cure: 'Save the model again with its data beside it.',
    })
  }
  const { dtype, count } = tensorHeader(tensor, subject)
  const length = count * bytesOf(dtype)
  const offset = Number(entries.get('offset') ?? 0)
  const stated = entries.get('length')
  if (!Number.isSafeInteger(offset) || offset < 0)
    throw refused(subject, 'the offset is no number', { found: entries.get('offset') })
  if (stated !== undefined && Number(stated) !== length) {
    throw refused(subject, 'the stated length does not fit the tensor', {
      expected: `${length} bytes for [${tensor.dims}]`,
      found: stated,
    })
  }
  return { path: join(directory, relative), offset, length }
}

async function openData(path: string, subject: string): Promise<FileHandle> {
  try {
    return await open(path, 'r')
  } catch (cause) {
    throw refused(subject, 'the file of its data cannot be opened', {
      expected: path,
      found: (cause as Error).message,
      cure: 'Keep the data file beside the model, under the name it was saved with.',
      cause,
    })
  }
}

async function readStretch(
  file: FileHandle,
  path: string,
  offset: number,
  length: number,
  subject: string,
): Promise<Uint8Array> {
  const stat = await file.stat()
  const isInside = stat.isFile() && offset + length <= stat.size
  const bytes = isInside
    ? await readRange(file, offset, length).catch((cause) => unreadable(subject, cause))
    : undefined
  if (bytes !== undefined) return bytes
  throw refused(subject, 'the file of its data is too short', {
    expected: `${offset + length} bytes in ${path}`,
    found: stat.isFile() ? `${stat.size}` : 'no file',
    cure: 'Download or export the model and its data again.',
  })
}

function unreadable(subject: string, cause: unknown): never {
  throw refused(subject, 'its data cannot be read', {
    found: cause instanceof Error ? cause.message : String(cause),
    cause,
  })
}

function refused(subject: string, message: string, fault: ConstructorParameters<typeof ModelError>[2]): ModelError {
  return new ModelError('MODEL_EXTERNAL_DATA', message, { subject, ...fault })
}

function* tensorsOf(model: ModelProto): Generator<TensorProto> {
  if (model.graph) yield* tensorsOfGraph(model.graph)
  for (const { node, attributeProto } of model.functions) {
    yield* tensorsOfNodes(node)
    yield* tensorsOfAttributes(attributeProto, '')
  }
}

function* tensorsOfGraph(graph: GraphProto): Generator<TensorProto> {
  yield* graph.initializer
  yield* tensorsOfNodes(graph.node)
}

function* tensorsOfNodes(nodes: readonly NodeProto[]): Generator<TensorProto> {
  for (const { attribute, output } of nodes) yield* tensorsOfAttributes(attribute, output[0] ?? '')
}

/** @param owner names a tensor that has no name of its own. */
function* tensorsOfAttributes(attributes: readonly AttributeProto[], owner: string): Generator<TensorProto> {
  for (const { t, g } of attributes) {
    if (t) {
      t.name ||= owner
      yield t
    }
    if (g) yield* tensorsOfGraph(g)
  }
}
