export { GraphBuilder } from './builder.js'
export * from './dim.js'
export { type Inferred, infer } from './inference/index.js'
export { type Attribute, type Attributes, Graph, intAttribute, intsAttribute, Node, Value } from './ir.js'
