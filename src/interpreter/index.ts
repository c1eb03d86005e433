export type { NdArray } from './nd-array.js'
