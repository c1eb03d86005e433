export { type OrtBackendOptions, ortBackend } from './ort-backend.js'
export { forRuntime } from './rewrite.js'
