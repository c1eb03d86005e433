import { ModelError } from '../errors/index.js'
import {
  type DraftAttribute,
  DraftGraph,
  type DraftNode,
  domainOf,
  draftAttribute,
  draftNode,
  mapValues,
  type Source,
} from './draft.js'
import { Names, renameNode } from './names.js'
import type { FunctionProto } from './schema.js'

/** More nodes than any real network; functions that call each other twice grow exponentially. */
const MOST_NODES = 1_000_000
const DEEPEST_CALL = 64

interface ModelFunction {
  readonly inputs: readonly string[]
  readonly outputs: readonly string[]
  readonly defaults: Readonly<Record<string, DraftAttribute>>
  readonly body: readonly DraftNode[]
}

/** Replaces every call of a function of the model by the function's body, inner graphs and nested calls included. */
export function inlineFunctions(
  graph: DraftGraph,
  protos: readonly FunctionProto[],
  modelOpset: number,
  source: Source,
): void {
  if (protos.length === 0) return
  const functions = new Map(protos.map((proto) => [keyOfProto(proto), draftFunction(proto, modelOpset, source)]))
  new Inliner(functions, new Names(graph), source.name).graph(graph, 0)
}

const key = (domain: string, name: string, overload: string): string => JSON.stringify([domain, name, overload])
const keyOfProto = ({ domain, name, overload }: FunctionProto): string =>
  key(domainOf(domain), name ?? '', overload ?? '')

function draftFunction(proto: FunctionProto, modelOpset: number, source: Source): ModelFunction {
  const opset = proto.opsetImport.find(({ domain }) => domainOf(domain) === '')?.version ?? modelOpset
  const owner = `function '${proto.name}'`
  return {
    inputs: proto.input,
    outputs: proto.output,
    defaults: Object.fromEntries(
      proto.attributeProto.map((attribute) => [attribute.name ?? '', draftAttribute(attribute, opset, source, owner)]),
    ),
    body: proto.node.map((node) => draftNode(node, opset, source)),
  }
}

class Inliner {
  private nodes = 0

  constructor(
    private readonly functions: ReadonlyMap<string, ModelFunction>,
    private readonly names: Names,
    private readonly source: string,
  ) {}

  graph(graph: DraftGraph, depth: number): void {
    graph.nodes = graph.nodes.flatMap((node) => this.node(node, depth))
  }

  private node(node: DraftNode, depth: number): DraftNode[] {
    if (++this.nodes > MOST_NODES || depth > DEEPEST_CALL) {
      throw new ModelError('MODEL_INVALID', 'the functions of the model call each other without end', {
        subject: `${this.source}, node '${node.name}' (${node.op})`,
      })
    }
    const called = this.functions.get(key(node.domain, node.op, node.overload))
    if (called === undefined) {
      for (const value of Object.values(node.attributes)) if (value instanceof DraftGraph) this.graph(value, depth)
      return [node]
    }
    return this.bodyOf(called, node).flatMap((inner) => this.node(inner, depth + 1))
  }

  private bodyOf(called: ModelFunction, call: DraftNode): DraftNode[] {
    const renamed = new Map<string, string>([['', '']])
    for (const [index, formal] of called.inputs.entries()) renamed.set(formal, call.inputs[index] ?? '')
    const nodes: DraftNode[] = []
    for (const [index, formal] of called.outputs.entries()) {
      const actual = call.outputs[index] ?? ''
      if (actual === '') continue
      if (renamed.has(formal)) nodes.push(identity(call, renamed.get(formal)!, actual))
      else renamed.set(formal, actual)
    }
    const rename = (name: string): string => {
      const known = renamed.get(name)
      if (known !== undefined) return known
      const fresh = this.names.fresh(`${call.name}/${name}`)
      renamed.set(name, fresh)
      return fresh
    }
    const attributes = { ...called.defaults, ...call.attributes }
    for (const node of called.body)
      nodes.push(renameNode(resolve({ ...node, name: `${call.name}/${node.name}` }, attributes), rename))
    return nodes
  }
}

/** Puts the caller's attributes where the body refers to them; one that neither side gives stays away. */
function resolve(node: DraftNode, values: Readonly<Record<string, DraftAttribute>>): DraftNode {
  const attributes: Record<string, DraftAttribute> = mapValues(node.attributes, (value) => {
    if (!(value instanceof DraftGraph)) return value
    const graph = Object.assign(new DraftGraph(value.name), value)
    graph.nodes = value.nodes.map((inner) => resolve(inner, values))
    return graph
  })
  for (const [name, formal] of Object.entries(node.references)) if (formal in values) attributes[name] = values[formal]
  return { ...node, attributes, references: {} }
}

function identity(call: DraftNode, input: string, output: string): DraftNode {
  return { ...call, op: 'Identity', domain: '', overload: '', inputs: [input], outputs: [output], attributes: {} }
}
