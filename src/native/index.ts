export type { Binding, Kernels } from './binding.js'
export * from './engine-binding.js'
export { loadNative, nativePath } from './load.js'
