import { ModelError } from '../errors/index.js'
import { constantsToInitialisers } from './constants.js'
import { domainOf, draftGraph, type Source } from './draft.js'
import { loadExternalData } from './external-data.js'
import { inlineFunctions } from './functions.js'
import { readMessage } from './message-reader.js'
import { type OnnxModel, OPSET } from './model.js'
import { nameNodesApart } from './names.js'
import { orderNodes } from './order.js'
import { type ModelProto, modelSchema } from './schema.js'
import { OLDEST_OPSET, upgradeGraph } from './upgrade/index.js'

export interface DecodeOptions {
  /** How errors name the model, usually its path. */
  readonly name?: string
  /** Where external data lie; without it a model that has any is refused. */
  readonly directory?: string
  /**
   * Whether `bytes` are given away. Tensors that lie askew are then shifted to an aligned place within them, which spares
   * a copy of most weights; the bytes are no ONNX file afterwards.
   */
  readonly consume?: boolean
}

/**
 * Decodes an ONNX file: opsets 7 to 26, model-local functions inlined, Constant nodes made initialisers, nodes in an order
 * in which they can be run. Weights are views on `bytes` where they are aligned.
 * @throws ModelError MODEL_INVALID, MODEL_UNSUPPORTED or MODEL_EXTERNAL_DATA.
 */
export async function decodeModel(bytes: Uint8Array, options: DecodeOptions = {}): Promise<OnnxModel> {
  const source: Source = { name: options.name ?? 'model', movable: options.consume ?? false }
  // A Buffer's subarray and slice are not those of Uint8Array.
  const plain = new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const proto = readMessage<ModelProto>(modelSchema, plain, source.name)
  if (proto.graph === undefined) {
    throw new ModelError('MODEL_INVALID', 'the file holds no graph', {
      subject: source.name,
      expected: 'an ONNX model',
      cure: 'Export the network to ONNX, for example with torch.onnx.export.',
    })
  }
  const opset = opsetOf(proto, source.name)
  await loadExternalData(proto, options.directory, source.name)

  const graph = draftGraph(proto.graph, opset, source)
  inlineFunctions(graph, proto.functions, opset, source)
  constantsToInitialisers(graph, source.name)
  upgradeGraph(graph, source.name)
  orderNodes(graph, source.name)
  for (const inner of graph.nested()) nameNodesApart(inner)
  return {
    graph: graph.finish(),
    producer: [proto.producerName, proto.producerVersion].filter(Boolean).join(' '),
    irVersion: proto.irVersion ?? 0,
    opset,
    metadata: Object.fromEntries(proto.metadataProps.map(({ key, value }) => [key ?? '', value ?? ''])),
  }
}

function opsetOf(proto: ModelProto, subject: string): number {
  // Files of IR version 1 and 2 state no opset and mean the first.
  const version = proto.opsetImport.find(({ domain }) => domainOf(domain) === '')?.version ?? 1
  const versions = [version]
  for (const { opsetImport } of proto.functions)
    for (const { domain, version } of opsetImport) if (domainOf(domain) === '') versions.push(version ?? 1)
  for (const found of versions) {
    if (found >= OLDEST_OPSET && found <= OPSET) continue
    throw new ModelError('MODEL_UNSUPPORTED', `the model is written in opset ${found}`, {
      subject,
      expected: `opset ${OLDEST_OPSET} to ${OPSET}`,
      found: `${found}`,
      cure: `Export the model again at an opset between ${OLDEST_OPSET} and ${OPSET}, or convert it with onnx.version_converter.`,
    })
  }
  return version
}
