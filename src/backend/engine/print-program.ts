import { type Dim, showDim, sizeAt } from '../../graph/index.js'
import { buffersOf } from './plan-writer.js'
import { epilogues, functions, type KernelProgram, type PlanBuffer, reductions, type Step } from './program.js'

const nameOf = (table: Readonly<Record<string, number>>, code: Dim): string =>
  Object.keys(table).find((name) => table[name] === code) ?? String(code)

/** A listing of a kernel program for people: `signstep inspect --program`. Buffers are numbered in order of first use; # marks constants. */
export function printProgram(program: KernelProgram): string {
  const buffers = buffersOf(program)
  const numbers = new Map(buffers.map((buffer, i) => [buffer, i]))
  const label = (buffer: PlanBuffer | undefined): string => {
    if (buffer === undefined) return '-'
    if (buffer === program.input) return 'input'
    if (buffer === program.logits) return 'logits'
    if (buffer === program.imageGradient) return 'image_gradient'
    return `${buffer.constant === undefined ? '' : '#'}${numbers.get(buffer)}`
  }
  const listing = (title: string, steps: readonly Step[]): string[] => [
    `${title}: ${steps.length} steps`,
    ...steps.map(
      (step, i) =>
        `${String(i).padStart(5)}  ${describe(step).padEnd(44)} ${step.buffers.map(label).join(' ').padEnd(30)} ${step.name}`,
    ),
  ]
  const constants = buffers.filter(({ constant }) => constant !== undefined)
  const weights = constants.reduce((sum, { elements }) => sum + sizeAt(elements, 1), 0)
  return [
    `image ${program.image.join('×')} in ${program.layout}${program.patch > 0 ? ` of ${program.patch}×${program.patch}` : ''}, ${program.classes} classes, loss ${program.loss}${program.targeted ? ' (targeted)' : ''}`,
    `${constants.length} constants, ${weights.toLocaleString('en')} elements`,
    ...listing('forward', program.forward),
    ...listing('gradient', program.gradient),
    '',
  ].join('\n')
}

function describe({ op, ints }: Step): string {
  const dims = (from: number, count: number): string =>
    ints
      .slice(from, from + count)
      .map(showDim)
      .join('×')
  switch (op) {
    case 'gemm':
      return `gemm ${dims(0, 3)} ${nameOf(epilogues, ints[3])}`
    case 'elementwise':
      return `${nameOf(functions, ints[0])} ${dims(2, ints[1] as number)}`
    case 'reduce':
      return `reduce ${nameOf(reductions, ints[0])} ${dims(2, ints[1] as number)}`
    case 'copy':
      return `copy ${dims(1, ints[0] as number)}`
    case 'attention':
    case 'attention_backward':
      return `${op} ${dims(0, 4)}${ints[20] === 0 ? '' : `, ${dims(20, 1)} queries`}`
    case 'convolution':
      return `convolution ${showDim(ints[0])}×${windowed(ints, 4)} → ${ints[1]} ${nameOf(epilogues, ints[2])}`
    case 'max_pool':
    case 'max_pool_backward':
    case 'average_pool':
    case 'average_pool_backward':
      return `${op} ${showDim(ints[0])}×${windowed(ints, 2)}`
    case 'batched_matmul':
      return `batched_matmul ${dims(3, 3)}: ${dims(0, 3)}`
    default:
      return `${op} ${dims(0, Math.min(2, ints.length))}`
  }
}

/** The pictures, taps and strides of a window: `56×56×64 3×3/2`. */
function windowed(ints: readonly Dim[], from: number): string {
  const [height, width, channels, , , strideY, strideX, , , tapsY, tapsX] = ints.slice(from)
  const stride = strideY === strideX ? strideY : `${strideY},${strideX}`
  return `${height}×${width}×${channels} ${tapsY}×${tapsX}${stride === 1 ? '' : `/${stride}`}`
}
