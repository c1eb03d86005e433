import { input, int, type Operator, text, transpose } from './array.js'
import { reshaped } from './shape.js'

const depthToSpace: Operator = (call) => {
  const x = input(call, 0)
  const [n, c, h, w] = x.shape
  const b = int(call, 'blocksize', 1)
  const depth = c / (b * b)
  const crd = text(call, 'mode', 'DCR') === 'CRD'
  const six = reshaped(x, crd ? [n, depth, b, b, h, w] : [n, b, b, depth, h, w])
  return reshaped(transpose(six, crd ? [0, 1, 4, 2, 5, 3] : [0, 3, 4, 1, 5, 2]), [n, depth, h * b, w * b])
}

const spaceToDepth: Operator = (call) => {
  const x = input(call, 0)
  const [n, c, h, w] = x.shape
  const b = int(call, 'blocksize', 1)
  return reshaped(transpose(reshaped(x, [n, c, h / b, b, w / b, b]), [0, 3, 5, 1, 2, 4]), [n, c * b * b, h / b, w / b])
}

/** Blocks of pixels to channels and back. */
export const space: Record<string, Operator> = { DepthToSpace: depthToSpace, SpaceToDepth: spaceToDepth }
