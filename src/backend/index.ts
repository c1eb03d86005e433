export * from './engine/index.js'
export { lossOfLogits, predictionsOf } from './loss.js'
export { forRuntime, type OrtBackendOptions, ortBackend } from './ort/index.js'
export type * from './program.js'
