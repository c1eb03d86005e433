export { GraphBuilder } from './builder.js'
export {
  applyRules,
  type CanonicaliseOptions,
  canonicalise,
  type Rule,
  type Site,
  uniformValue,
} from './canonicalise/index.js'
export { type Cost, cost, flopsOf, type GraphCost } from './cost/index.js'
export * from './dim.js'
export { type ExportOptions, exportModel } from './export.js'
export { compositions } from './import/compositions/index.js'
export { type ImportedModel, type ImportOptions, importModel } from './import/index.js'
export {
  canInfer,
  type EinsumEquation,
  einsumEquation,
  type Inferred,
  infer,
  slicesAll,
  slidingWindow,
  type Window,
} from './inference/index.js'
export { interpret } from './interpret.js'
export {
  type Attribute,
  type Attributes,
  Graph,
  intAttribute,
  intsAttribute,
  Node,
  STRAIGHT_THROUGH,
  Value,
} from './ir.js'
export { type Block, type BlockKind, type BlockTree, type Properties, recognise } from './recognise/index.js'
export { specialise } from './specialise.js'
