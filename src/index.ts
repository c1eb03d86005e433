export * from './attack/index.js'
export type { LossName, Preprocess } from './autodiff/index.js'
export * from './data/index.js'
export {
  AbortedError,
  DataError,
  type ErrorCode,
  type Fault,
  ModelError,
  OptionError,
  RuntimeError,
  SignstepError,
} from './errors/index.js'
export * from './evaluate/index.js'
export {
  compile,
  type Device,
  type DeviceOptions,
  type GradientOptions,
  type GradientSummary,
  gradient,
  type InspectResult,
  inspect,
  listProgram,
  loadModel,
  Model,
  type ModelOptions,
  type PlanFileOptions,
  type PlanFileSummary,
  presets,
  renderInspect,
} from './model/index.js'
export { RunFolder, renderReport, renderTable } from './report/index.js'
