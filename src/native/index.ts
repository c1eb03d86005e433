export type { Binding, Kernels } from './binding.js'
export { loadNative, nativePath } from './load.js'
