export type { LossName } from './loss-name.js'
export type { VjpContext, VjpRule } from './rule.js'
