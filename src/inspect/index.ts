export { type InspectSubject, inspectModel } from './inspect-model.js'
export { renderInspect } from './render.js'
export type { InspectedBlock, InspectedCost, InspectedNode, InspectedTensor, InspectResult } from './result.js'
