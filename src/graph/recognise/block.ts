import type { Node } from '../ir.js'

export type BlockKind =
  | 'input normalisation'
  | 'patch embedding'
  | 'patch merging'
  | 'transformer block'
  | 'residual block'
  | 'attention'
  | 'window attention'
  | 'mlp'
  | 'squeeze-and-excitation'
  | 'convolution'
  | 'linear'
  | 'layer normalisation'
  | 'rms normalisation'
  | 'batch normalisation'
  | 'group normalisation'
  | 'activation'
  | 'pooling'
  | 'classifier'

/** What is worth knowing about a block: `heads`, `headDim`, `tokens`, `window`, `shift`, `dim`, `kernel`, `stride`, … */
export type Properties = Readonly<Record<string, number | boolean | string | readonly number[]>>

/** A part of the graph with a name in the literature. */
export interface Block {
  readonly kind: BlockKind
  readonly properties: Properties
  /** Every node of the block, those of its children included, in graph order. */
  readonly nodes: readonly Node[]
  readonly children: readonly Block[]
}

export interface BlockTree {
  /** In graph order. */
  readonly blocks: readonly Block[]
  /** Reshapes, transposes and the like between blocks: no arithmetic. */
  readonly layout: readonly Node[]
  /** Nodes on the way from the image to the outputs that belong to no block or to none of a composite block's parts. */
  readonly unrecognised: readonly Node[]
  /** Nodes that do not depend on the image: tables, masks, weights being rearranged. They belong to no block. */
  readonly fixed: readonly Node[]
}

/** A block as a recogniser proposes it, before it finds its place in the tree. */
export interface Candidate {
  readonly kind: BlockKind
  readonly properties: Properties
  /** Where the data leave the block. */
  readonly output: Node
  readonly nodes: ReadonlySet<Node>
}
