import type { DType, Tensor } from '../tensor/index.js'

/** The one opset of everything above this folder. Readers convert older files to it; writers stamp it. */
export const OPSET = 26

export type Attribute = number | string | readonly number[] | readonly string[] | Tensor | OnnxGraph

export interface OnnxNode {
  readonly name: string
  readonly op: string
  /** '' is the standard's own domain. */
  readonly domain: string
  /** '' marks an optional input that is left out. */
  readonly inputs: readonly string[]
  readonly outputs: readonly string[]
  readonly attributes: Readonly<Record<string, Attribute>>
}

export interface OnnxValueInfo {
  readonly name: string
  /** Undefined where the file gives none, as for the outputs of inner graphs. */
  readonly dtype: DType | undefined
  /** A number, or the symbol's name ('' where the file gives none). Undefined where the file gives no shape at all. */
  readonly shape: readonly (number | string)[] | undefined
}

export interface OnnxGraph {
  readonly name: string
  /** Without the initialisers that old files list as inputs too. */
  readonly inputs: readonly OnnxValueInfo[]
  readonly outputs: readonly OnnxValueInfo[]
  /** Data are views on the file's bytes wherever alignment allows. Constant nodes have become initialisers too. */
  readonly initialisers: ReadonlyMap<string, Tensor>
  readonly nodes: readonly OnnxNode[]
}

/** A model as read: plain data, no protobuf, every node in the form of `OPSET`. */
export interface OnnxModel {
  readonly graph: OnnxGraph
  readonly producer: string
  readonly irVersion: number
  /** The opset of the file, before conversion. */
  readonly opset: number
  readonly metadata: Readonly<Record<string, string>>
}
