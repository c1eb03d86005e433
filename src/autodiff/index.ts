export type { VjpContext, VjpRule } from './rule.js'
