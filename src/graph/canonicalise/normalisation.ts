import { elementCount, float32Tensor } from '../../tensor/index.js'
import type { GraphBuilder } from '../builder.js'
import { intAttribute, type Node, type Value } from '../ir.js'
import {
  eitherWay,
  isConstantOf,
  madeBy,
  quotientsByRoot,
  squareRootOfSquare,
  suffixMean,
  withEpsilon,
} from './match.js'
import type { Rule, Site } from './rule.js'
import { uniformValue } from './uniform.js'

/** (x − mean) / √(mean((x − mean)²) + ε) over the last axes → LayerNormalization with a scale of ones. */
export const layerNormalisation: Rule = ({ node, inputs, b }) => {
  for (const [centred, root] of quotientsByRoot(node.op, inputs)) {
    const difference = madeBy(centred, 'Sub')
    const variance = withEpsilon(root)
    const [x, mean] = difference?.inputs ?? []
    if (x?.dtype !== 'float32' || mean === undefined || variance === undefined) continue
    const first = suffixMean(mean)
    const second = suffixMean(variance[0])
    if (first?.of !== x || second === undefined || second.axis !== first.axis) continue
    if (squareRootOfSquare(second.of) !== centred) continue
    return [emitNormalisation(b, 'LayerNormalization', x, first.axis, variance[1])]
  }
  return undefined
}

/** x / √(mean(x²) + ε) over the last axes → RMSNormalization with a scale of ones. ONNX Runtime 1.30 runs it on the CPU. */
export const rmsNormalisation: Rule = ({ node, inputs, b }) => {
  for (const [x, root] of quotientsByRoot(node.op, inputs)) {
    const variance = withEpsilon(root)
    const mean = variance && suffixMean(variance[0])
    if (variance === undefined || mean === undefined || squareRootOfSquare(mean.of) !== x) continue
    if (x.dtype !== 'float32') continue
    return [emitNormalisation(b, 'RMSNormalization', x, mean.axis, variance[1])]
  }
  return undefined
}

/** A constant factor, then a constant addend, right behind a normalisation that has none yet, become its scale and bias. */
export const normalisationScale: Rule = (site) => {
  const { node, inputs, b } = site
  if (node.op === 'Mul')
    for (const [y, scale] of eitherWay(inputs)) {
      const norm = madeBy(y, 'LayerNormalization', 'RMSNormalization')
      if (norm === undefined || !isPlain(norm, site) || !isConstantOf(scale, norm.inputs[1]?.shape ?? [])) continue
      return [b.emit(norm.op, [norm.inputs[0], scale], norm.attributes)]
    }
  if (node.op === 'Add')
    for (const [y, bias] of eitherWay(inputs)) {
      const norm = madeBy(y, 'LayerNormalization')
      if (norm === undefined || hasBias(norm, site) || !isConstantOf(bias, norm.inputs[1]?.shape ?? [])) continue
      return [b.emit(norm.op, [norm.inputs[0], norm.inputs[1], bias], norm.attributes)]
    }
  return undefined
}

function emitNormalisation(b: GraphBuilder, op: string, x: Value, axis: number, epsilon: number): Value {
  const shape = x.shape.slice(axis) as readonly number[]
  const ones = b.constant(float32Tensor(shape, new Float32Array(elementCount(shape)).fill(1)), 'ones')
  return b.emit(op, [x, ones], { axis: axis - x.shape.length, epsilon })
}

/** A normalisation of one output with a scale of ones and no bias. */
const isPlain = (norm: Node, site: Site): boolean =>
  norm.outputs.length === 1 &&
  intAttribute(norm.attributes, 'stash_type', 1) === 1 &&
  uniformValue(norm.inputs[1], site.keepParameters) === 1 &&
  !hasBias(norm, site)

const hasBias = (norm: Node, site: Site): boolean =>
  norm.inputs[2] !== undefined && uniformValue(norm.inputs[2], site.keepParameters) !== 0
