import type { Dim, Node, Value, Window } from '../../graph/index.js'
import { float32Tensor, type Tensor } from '../../tensor/index.js'
import type { Chain } from './chains.js'
import type { Handler } from './lower-layout.js'
import { floats, type Lowering } from './lowering.js'
import { epilogues, type OpName, PlanBuffer } from './program.js'
import { elementsOf, shapeOf, type View, viewOf } from './view.js'
import { type Grid, gridsOf, leavesPixelsOut, windowOf } from './windows.js'

/** One launch: the pixels that it writes and how it computes them. */
interface Part {
  readonly weight: Tensor
  /** The window as program.h lists it: 13 numbers. */
  readonly window: readonly number[]
  /** The grid of its results: 6 numbers. */
  readonly grid: readonly number[]
}

/** The convolution steps of a chain: one, or one for each grid of pixels in a backward with strides. `toImage`: into the image gradient. */
export function lowerConvolution(lowering: Lowering, chain: Chain, toImage: boolean): void {
  const { constants, ends } = lowering
  const { root, output, n } = chain
  const name = root.name
  const x = lowering.whole(lowering.view(chain.a), name)
  const made = new PlanBuffer('value', elementsOf(output.shape))
  const lie = (buffer: PlanBuffer): View => viewOf(buffer, output.shape)
  const sparse = leavesPixelsOut(root)
  const residual = chain.residual && lowering.alike(lowering.view(chain.residual), lie(made), name)
  const buffer = toImage ? ends.imageGradient : sparse && residual !== undefined ? residual.buffer : made
  const at = lie(buffer)
  let aux: View | undefined
  if (chain.aux !== undefined && chain.auxKept) {
    aux = lie(new PlanBuffer('value', made.elements))
    lowering.define(chain.aux, aux)
  } else if (chain.aux !== undefined) aux = lowering.alike(lowering.view(chain.aux), at, name)
  if (sparse && residual === undefined) lowering.step('fill', name, [buffer], [buffer.elements], [0])
  else if (sparse && residual !== undefined && toImage) lowering.move(residual, at, name)
  const vector = (values: Chain['bias']): PlanBuffer | undefined => values && constants.vector(values)
  const epilogue = epilogues[toImage ? 'store_float' : chain.epilogue]
  const sizes = shapeOf(x).slice(1) as number[]
  for (const { weight, window, grid } of partsOf(root, sizes, chain.matrix.constant as Tensor))
    lowering.step(
      'convolution',
      name,
      [
        x.buffer,
        constants.of(weight, 'value'),
        buffer,
        vector(chain.bias),
        vector(chain.scale),
        residual?.buffer,
        aux?.buffer,
      ],
      [output.shape[0], n, epilogue, live(output), ...window, ...grid],
    )
  lowering.define(output, at)
}

/** Pictures of finished images can be left out where every image has as many. */
const live = ({ shape: [n] }: Value): number => (typeof n === 'number' ? 0 : 1)

function partsOf(root: Node, sizes: readonly number[], weight: Tensor): Part[] {
  const window = windowOf(root.attributes)
  const [height, width] = root.outputs[0].shape.slice(1) as number[]
  if (root.op === 'signstep.Convolution')
    return [{ weight: floats(weight), window: windowInts(sizes, window), grid: [height, width, 1, 1, 0, 0] }]
  return gridsOf(window, 0, height).flatMap((y) =>
    gridsOf(window, 1, width)
      .filter((x) => x.taps.length > 0 && y.taps.length > 0)
      .map((x) => ({
        weight: reversed(weight, y, x),
        window: [...sizes, y.rows, x.rows, 1, 1, y.start, x.start, y.taps.length, x.taps.length, y.step, x.step],
        grid: [height, width, y.stride, x.stride, y.first, x.first],
      })),
  )
}

/** The taps of a grid out of a weight [O,kh,kw,I], as [I,taps,taps,O]. */
function reversed(weight: Tensor, y: Grid, x: Grid): Tensor {
  const [outputs, , width, inputs] = weight.shape
  const from = floats(weight).data as Float32Array
  const taps = weight.shape[1] * width
  const data = new Float32Array(inputs * y.taps.length * x.taps.length * outputs)
  let at = 0
  for (let i = 0; i < inputs; i++)
    for (const r of y.taps)
      for (const q of x.taps)
        for (let o = 0; o < outputs; o++) data[at++] = from[(o * taps + r * width + q) * inputs + i]
  return float32Tensor([inputs, y.taps.length, x.taps.length, outputs], data)
}

/** A window over pictures [height, width, channels] as program.h lists it. */
function windowInts(sizes: readonly number[], { kernel, strides, dilations, begins, output }: Window): number[] {
  return [...sizes, ...output, ...strides, ...begins.map((pad) => 0 - pad), ...kernel, ...dilations]
}

// ---- pools ------------------------------------------------------------------------------------------------------------------------

const pooled =
  (op: OpName, operands: (inputs: readonly PlanBuffer[], out: PlanBuffer) => readonly PlanBuffer[]): Handler =>
  (lowering, node) => {
    const [out] = node.outputs
    const inputs = node.inputs.map((value) => lowering.whole(lowering.view(value as Value), node.name).buffer)
    const to = lowering.fresh(out.shape)
    const whole = node.attributes.whole as number | undefined
    const picture = (op.endsWith('backward') ? out : (node.inputs[0] as Value)).shape.slice(1) as number[]
    const ints: Dim[] = [out.shape[0], live(out), ...windowInts(picture, windowOf(node.attributes))]
    lowering.step(op, node.name, operands(inputs, to.buffer), whole === undefined ? ints : [...ints, whole])
    lowering.define(out, to)
  }

export const poolHandlers: Readonly<Record<string, Handler>> = {
  'signstep.MaxPool': pooled('max_pool', ([x], y) => [y, x]),
  'signstep.MaxPoolBackward': pooled('max_pool_backward', ([x, dy], dx) => [dx, x, dy]),
  'signstep.AveragePool': pooled('average_pool', ([x], y) => [y, x]),
  'signstep.AveragePoolBackward': pooled('average_pool_backward', ([dy], dx) => [dx, dy]),
}
