import type { BlockKind, Properties } from '../graph/index.js'

/** What `signstep inspect` says about a model; `--json` prints it as it is. Costs are for one image. */
export interface InspectResult {
  readonly file: string
  readonly producer: string
  readonly opset: number
  readonly irVersion: number
  readonly input: InspectedTensor
  readonly outputs: readonly InspectedTensor[]
  /** Classes of the first output, where it is [N, classes]. */
  readonly classes: number | undefined
  /** What a user should know before attacking the model. */
  readonly notes: readonly string[]
  readonly totals: InspectedCost & {
    /** Most bytes of activations alive at once in a forward pass. */
    readonly peakBytes: number
  }
  readonly blocks: readonly InspectedBlock[]
  /** Nodes on the way from the image to the outputs that belong to no known block. */
  readonly unrecognised: readonly InspectedNode[]
  /** Nodes: as in the file, after folding for a symbolic batch, and in canonical form. */
  readonly nodes: { readonly file: number; readonly folded: number; readonly canonical: number }
  /** How often each operator occurs in the file, most frequent first. */
  readonly operators: Readonly<Record<string, number>>
  /** The same of the canonical graph. */
  readonly canonicalOperators: Readonly<Record<string, number>>
}

export interface InspectedTensor {
  readonly name: string
  readonly dtype: string
  /** The batch size is 'N'. */
  readonly shape: readonly (number | string)[]
}

export interface InspectedCost {
  /** A multiply-add counts two. */
  readonly flops: number
  readonly parameters: number
  /** Bytes of activations that the gradient to the image needs again. */
  readonly keptBytes: number
}

export interface InspectedBlock extends InspectedCost {
  readonly kind: BlockKind
  readonly properties: Properties
  /** Canonical nodes in it. */
  readonly nodes: number
  readonly children: readonly InspectedBlock[]
}

export interface InspectedNode {
  readonly op: string
  readonly name: string
  readonly shape: readonly (number | string)[]
}
