import type { Graph, Node, Value } from '../ir.js'

/** A node, or the graph input the data come from. */
export type Vertex = Node | Value

/** Operators that move elements about and compute nothing. */
const layoutOps = new Set([
  ...['Reshape', 'Transpose', 'Squeeze', 'Unsqueeze', 'Flatten', 'Identity', 'Cast', 'Dropout', 'Expand', 'Tile'],
  ...['Slice', 'Split', 'Concat', 'Pad', 'Gather', 'GatherND', 'DepthToSpace', 'SpaceToDepth'],
])

export const isLayout = (vertex: Vertex | undefined): boolean => isNode(vertex) && layoutOps.has(vertex.op)
export const isNode = (vertex: Vertex | undefined): vertex is Node => vertex !== undefined && 'op' in vertex

/**
 * The graph seen as the way of the image: only what depends on it counts (the shape of a value does not). Dominators say which
 * node all data of another come through, post-dominators which node they all go to; a residual connection, a roll of two slices
 * or a gate is then a region between two nodes.
 */
export class Dataflow {
  readonly graph: Graph
  /** Nodes that depend on an input's elements, in order. */
  readonly nodes: readonly Node[]
  private readonly position = new Map<Vertex, number>()
  private readonly varying = new Set<Value>()
  private readonly readers = new Map<Vertex, Node[]>()
  private readonly dominators = new Map<Vertex, Vertex>()
  private readonly depth = new Map<Vertex, number>()
  private readonly postDominators = new Map<Vertex, Node>()

  constructor(graph: Graph) {
    this.graph = graph
    for (const input of graph.inputs) {
      this.varying.add(input)
      this.position.set(input, -1)
    }
    this.nodes = graph.nodes.filter((node) => {
      if (node.op === 'Shape' || node.op === 'Size' || !node.inputs.some((input) => this.varies(input))) return false
      for (const output of node.outputs) this.varying.add(output)
      return true
    })
    this.nodes.forEach((node, i) => {
      this.position.set(node, i)
      for (const source of new Set(this.sources(node))) {
        const list = this.readers.get(source)
        if (list === undefined) this.readers.set(source, [node])
        else list.push(node)
      }
    })
    this.findDominators()
    this.findPostDominators()
  }

  /** Whether `value` depends on the elements of an input. */
  varies(value: Value | undefined): boolean {
    return value !== undefined && this.varying.has(value)
  }

  /** Whether `node` lies on the way of the image. */
  has(node: Node): boolean {
    return this.position.has(node)
  }

  orderOf(node: Node): number {
    return this.position.get(node) ?? -1
  }

  /** The inputs of `node` that depend on the image. */
  varyingInputs(node: Node): Value[] {
    return node.inputs.filter((input): input is Value => this.varies(input))
  }

  /** What makes a value. */
  vertexOf(value: Value): Vertex {
    return value.producer ?? value
  }

  sources(node: Node): Vertex[] {
    return this.varyingInputs(node).map((input) => this.vertexOf(input))
  }

  /** The nodes that read an output of `vertex`. */
  users(vertex: Vertex): readonly Node[] {
    return this.readers.get(vertex) ?? []
  }

  /** The only reader, where there is one and the vertex is no output of the graph. */
  onlyUser(vertex: Vertex): Node | undefined {
    const users = this.users(vertex)
    return users.length === 1 && this.postDominators.get(vertex) === users[0] ? users[0] : undefined
  }

  /** The nearest vertex all data of `node` come through. */
  dominator(node: Node): Vertex | undefined {
    return this.dominators.get(node)
  }

  /** The nearest node all data of `vertex` go to on their way to the outputs. */
  postDominator(vertex: Vertex): Node | undefined {
    return this.postDominators.get(vertex)
  }

  /** The nodes on the way from `stops` to `output`, that one included; undefined where some data come from elsewhere. */
  between(output: Node, stops: readonly Vertex[]): Set<Node> | undefined {
    const ends = new Set(stops)
    const first = Math.min(...stops.map((stop) => this.position.get(stop) ?? -1))
    const found = new Set<Node>()
    const queue: Vertex[] = [output]
    for (let vertex = queue.pop(); vertex !== undefined; vertex = queue.pop()) {
      if (ends.has(vertex)) continue
      // Whatever depends on the stops comes after the first of them.
      if (!isNode(vertex) || this.orderOf(vertex) < first) return undefined
      if (found.has(vertex)) continue
      found.add(vertex)
      queue.push(...this.sources(vertex))
    }
    return found
  }

  /**
   * Follows data upward from `vertex` while nothing but layout happens to them. With `within`, only as far as nobody reads them
   * but those nodes and what was passed on the way: a region that ends there takes nothing from others.
   */
  upThroughLayout(vertex: Vertex, within?: ReadonlySet<Node>): Vertex {
    const inside = within && new Set(within)
    let at = vertex
    while (isNode(at) && isLayout(at)) {
      const dominator = this.dominator(at)
      if (dominator === undefined || (inside !== undefined && !this.users(at).every((user) => inside.has(user)))) break
      const region = this.between(at, [dominator])
      if (region === undefined || ![...region].every(isLayout)) break
      for (const node of region) inside?.add(node)
      at = dominator
    }
    return at
  }

  /** Follows data downward from `node` while nothing but layout happens to them. */
  downThroughLayout(node: Node): Node {
    let at = node
    for (;;) {
      const next = this.postDominator(at)
      if (next === undefined || !isLayout(next)) return at
      const region = this.between(next, [at])
      if (region === undefined || ![...region].every(isLayout)) return at
      at = next
    }
  }

  private findDominators(): void {
    for (const input of this.graph.inputs) this.depth.set(input, 0)
    for (const node of this.nodes) {
      let common: Vertex | undefined
      let first = true
      for (const source of this.sources(node)) {
        common = first ? source : common && this.meet(common, source, this.dominators)
        first = false
      }
      if (common === undefined) {
        this.depth.set(node, 0)
        continue
      }
      this.dominators.set(node, common)
      this.depth.set(node, (this.depth.get(common) ?? 0) + 1)
    }
  }

  private meet(a: Vertex, b: Vertex, parents: ReadonlyMap<Vertex, Vertex>): Vertex | undefined {
    let [x, y]: (Vertex | undefined)[] = [a, b]
    while (x !== y) {
      if (x === undefined || y === undefined) return undefined
      if ((this.depth.get(x) ?? 0) >= (this.depth.get(y) ?? 0)) x = parents.get(x)
      else y = parents.get(y)
    }
    return x
  }

  private findPostDominators(): void {
    const ends = new Set(this.graph.outputs.map((output) => output.producer))
    const depth = new Map<Vertex, number>()
    const meet = (a: Node, b: Node): Node | undefined => {
      let [x, y]: (Node | undefined)[] = [a, b]
      while (x !== y) {
        if (x === undefined || y === undefined) return undefined
        if ((depth.get(x) ?? 0) >= (depth.get(y) ?? 0)) x = this.postDominators.get(x)
        else y = this.postDominators.get(y)
      }
      return x
    }
    for (const vertex of [...[...this.nodes].reverse(), ...this.graph.inputs]) {
      const users = this.users(vertex)
      let common: Node | undefined = isNode(vertex) && ends.has(vertex) ? undefined : users[0]
      for (const user of users) common = common && meet(common, user)
      if (common !== undefined) this.postDominators.set(vertex, common)
      depth.set(vertex, common === undefined ? 0 : (depth.get(common) ?? 0) + 1)
    }
  }
}
