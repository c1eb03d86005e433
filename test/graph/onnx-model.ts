import { type OnnxModel, type OnnxNode, OPSET } from '#signstep/onnx/index.js'
import { type DType, float32Tensor, int64Tensor, type Tensor } from '#signstep/tensor/index.js'
import { randomArray } from './run-graph.js'

export interface ModelParts {
  readonly input?: readonly (number | string)[]
  readonly dtype?: DType
  readonly initialisers?: Readonly<Record<string, Tensor>>
  /** Default: `y`. */
  readonly outputs?: readonly string[]
}

/** A file as read: one input `x` (default [N,3,4,4]), nodes, and the outputs they make. */
export function onnxModel(nodes: readonly OnnxNode[], parts: ModelParts = {}): OnnxModel {
  const { input = ['N', 3, 4, 4], dtype = 'float32', initialisers = {}, outputs = ['y'] } = parts
  return {
    graph: {
      name: 'test',
      inputs: [{ name: 'x', dtype, shape: input }],
      outputs: outputs.map((name) => ({ name, dtype: 'float32', shape: undefined })),
      initialisers: new Map(Object.entries(initialisers)),
      nodes,
    },
    producer: 'test',
    irVersion: 10,
    opset: OPSET,
    metadata: {},
  }
}

/** `node('Add', 'x bias', 'y')`: names separated by spaces, `-` for an input left out. */
export function node(op: string, inputs: string, outputs: string, attributes: OnnxNode['attributes'] = {}): OnnxNode {
  const names = (text: string) => text.split(' ').map((name) => (name === '-' ? '' : name))
  return { name: `${op}_${outputs}`, op, domain: '', inputs: names(inputs), outputs: names(outputs), attributes }
}

export const ints = (...values: number[]): Tensor => int64Tensor(values)
export const index = (value: number): Tensor => int64Tensor([value], [])
export const floats = (shape: readonly number[], seed = 1): Tensor =>
  float32Tensor(shape, randomArray(shape, seed).data)
