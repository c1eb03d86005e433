export { type DecodeOptions, decodeModel } from './decode.js'
export { bytesOf, dtypeOf, onnxTypeOf } from './element-types.js'
export { type Attribute, type OnnxGraph, type OnnxModel, type OnnxNode, type OnnxValueInfo, OPSET } from './model.js'
export { readModel } from './read-model.js'
