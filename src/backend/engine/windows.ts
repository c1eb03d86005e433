import { type Attributes, intsAttribute, type Node, type Window } from '../../graph/index.js'

/** Windows over pictures [N,H,W,C], as an attribute of each operator that has them. */
export const windowAttributes = ({ kernel, strides, dilations, begins, ends, output }: Window): Attributes => ({
  kernel,
  strides,
  dilations,
  begins,
  ends,
  output,
})

export function windowOf(attributes: Attributes): Window {
  const [kernel, strides, dilations, begins, ends, output] = [
    'kernel',
    'strides',
    'dilations',
    'begins',
    'ends',
    'output',
  ].map((name) => intsAttribute(attributes, name) as readonly number[])
  return { kernel, strides, dilations, begins, ends, output }
}

/**
 * The backward of a convolution with stride s reaches the pixels of each residue modulo s through taps of their own: every such grid of
 * pixels is a convolution of the gradient with stride 1.
 */
export interface Grid {
  /** The grid's pixels along an axis: first, first + stride, … */
  readonly first: number
  readonly stride: number
  readonly rows: number
  /** Taps of the convolution that reach them, in the order in which the gradient's pixels follow one another; none: nothing does. */
  readonly taps: readonly number[]
  /** Where in the gradient the first tap of the first pixel is, and the distance of taps. */
  readonly start: number
  readonly step: number
}

/** Pixel i gets from position p through tap t where p·stride − begin + t·dilation = i. */
export function gridsOf(window: Window, axis: number, size: number): Grid[] {
  const [taps, stride, dilation] = [window.kernel[axis], window.strides[axis], window.dilations[axis]]
  const step = dilation / divisor(stride, dilation)
  return Array.from({ length: Math.min(stride, size) }, (_, first) => {
    const shifted = first + window.begins[axis]
    const reaching = Array.from({ length: taps }, (_, i) => taps - 1 - i).filter(
      (tap) => (shifted - tap * dilation) % stride === 0,
    )
    const start = reaching.length === 0 ? 0 : (shifted - reaching[0] * dilation) / stride
    return { first, stride, rows: Math.ceil((size - first) / stride), taps: reaching, start, step }
  })
}

const divisor = (a: number, b: number): number => (b === 0 ? a : divisor(b, a % b))

/** Whether the backward of a convolution leaves pixels out: those that no tap reaches, whatever the padding. */
export function leavesPixelsOut(node: Node): boolean {
  if (node.op !== 'signstep.ConvolutionBackward') return false
  const window = windowOf(node.attributes)
  const size = intsAttribute(node.attributes, 'size') as readonly number[]
  return [0, 1].some((axis) => gridsOf(window, axis, size[axis]).some(({ taps }) => taps.length === 0))
}
