import { type Dim, isBatch, sameDim, showDim } from '../dim.js'
import { intAttribute, intsAttribute } from '../ir.js'
import {
  axisOf,
  type Call,
  type InferenceRules,
  type Inferred,
  knownInput,
  mismatch,
  numberInput,
  required,
  requireRank,
} from './call.js'

/** Sizes as given, or ⌊size·scale⌋; axes left out keep theirs. */
function resize(call: Call): Inferred[] {
  const x = required(call, 0)
  const rank = x.shape.length
  const axes =
    intsAttribute(call.attributes, 'axes')?.map((axis) => axisOf(call, axis, rank)) ?? x.shape.map((_, i) => i)
  const shape: Dim[] = [...x.shape]
  // Readers may leave an empty tensor where `scales` is not used.
  if (call.inputs[3] !== undefined) {
    const sizes = knownInput(call, 3, 'sizes')
    if (sizes.length !== axes.length) throw mismatch(call, 'wrong number of sizes', `${axes.length}`, `${sizes.length}`)
    const policy = call.attributes.keep_aspect_ratio_policy ?? 'stretch'
    axes.forEach((axis, i) => {
      shape[axis] = sizes[i]
    })
    if (policy !== 'stretch') {
      const ratios = axes.map((axis, i) => Number(sizes[i]) / Number(x.shape[axis]))
      const ratio = policy === 'not_larger' ? Math.min(...ratios) : Math.max(...ratios)
      for (const axis of axes) shape[axis] = Math.floor(Number(x.shape[axis]) * ratio + 0.5)
    }
  } else {
    const scales = numberInput(call, 2, 'scales')
    if (scales.length !== axes.length)
      throw mismatch(call, 'wrong number of scales', `${axes.length}`, `${scales.length}`)
    axes.forEach((axis, i) => {
      const dim = x.shape[axis]
      // In float32, as ONNX Runtime does: 10 · 0.7 is 7 there, and 6.9999999 in float64.
      if (!isBatch(dim)) shape[axis] = Math.floor(Math.fround(dim * scales[i]))
      else if (scales[i] !== 1) throw mismatch(call, 'scales the batch axis', '1', `${scales[i]}`)
    })
  }
  x.shape.forEach((dim, axis) => {
    if (isBatch(dim) && !sameDim(dim, shape[axis]))
      throw mismatch(call, 'resizes the batch axis', showDim(dim), showDim(shape[axis]))
  })
  return [{ dtype: x.dtype, shape }]
}

function gridSample(call: Call): Inferred[] {
  const [x, grid] = [required(call, 0), required(call, 1)]
  requireRank(call, x, 3)
  requireRank(call, grid, x.shape.length, x.shape.length)
  return [{ dtype: x.dtype, shape: [x.shape[0], x.shape[1], ...grid.shape.slice(1, -1)] }]
}

export const resizeRules: InferenceRules = { Resize: resize, GridSample: gridSample }

/** Whether a Resize gives its input back: no axis changes size, so every coordinate falls on a sample. */
export function resizesNothing(call: Call, result: Inferred): boolean {
  const x = required(call, 0)
  return (
    result.shape.every((dim, axis) => sameDim(dim, x.shape[axis])) &&
    call.attributes.coordinate_transformation_mode !== 'tf_crop_and_resize' &&
    intAttribute(call.attributes, 'antialias', 0) === 0
  )
}
