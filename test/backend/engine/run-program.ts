import type { KernelProgram, PlanBuffer, Step } from '#signstep/backend/engine/program.js'
import { epilogues, functions, reductions } from '#signstep/backend/engine/program.js'
import { type Dim, sizeAt } from '#signstep/graph/index.js'
import { erf } from '#signstep/interpreter/erf.js'
import { numbersOf } from '#signstep/tensor/index.js'

/**
 * What the steps of a kernel program mean, in plain float64: the definition of native/core/program/program.h a second time, so that the
 * lowering can be checked without any kernel. Unwritten elements are NaN.
 */
export class ProgramRun {
  private readonly memory = new Map<PlanBuffer, Float64Array>()
  private readonly program: KernelProgram
  private readonly batch: number
  private readonly labels: readonly number[]

  constructor(program: KernelProgram, batch: number, labels: readonly number[]) {
    this.program = program
    this.batch = batch
    this.labels = labels
  }

  /** Images [N,C,H,W] → the contents of `wanted` after the steps. */
  run(steps: readonly Step[], images: Float64Array, wanted: PlanBuffer): Float64Array {
    this.at(this.program.input).set(this.toLayout(images))
    for (const step of steps) this.step(step)
    return this.at(wanted)
  }

  private at(buffer: PlanBuffer): Float64Array {
    let data = this.memory.get(buffer)
    if (data === undefined) {
      const { constant } = buffer
      data =
        constant === undefined
          ? new Float64Array(sizeAt(buffer.elements, this.batch)).fill(Number.NaN)
          : numbersOf(constant.tensor)
      if (constant?.rowSums !== undefined) {
        const [rows, columns] = constant.rowSums
        const matrix = data
        data = Float64Array.from({ length: rows }, (_, r) =>
          matrix.subarray(r * columns, (r + 1) * columns).reduce((a, v) => a + v, 0),
        )
      }
      if (constant?.transposed !== undefined) {
        const [rows, columns] = constant.transposed
        const source = data
        data = Float64Array.from(source, (_, i) => source[(i % rows) * columns + Math.floor(i / rows)])
      }
      this.memory.set(buffer, data)
    }
    return data
  }

  /** Planes to the layout of the program's input. */
  toLayout(planes: Float64Array): Float64Array {
    return planes.map((_, i) => planes[this.planeIndex(i)])
  }

  /** The layout of the program's input to planes. */
  toPlanes(laidOut: Float64Array): Float64Array {
    const planes = new Float64Array(laidOut.length)
    for (let i = 0; i < planes.length; i++) planes[this.planeIndex(i)] = laidOut[i]
    return planes
  }

  private planeIndex(i: number): number {
    const { patch, image } = this.program
    if (patch === 0) return i
    const [channels, height, width] = image
    const size = channels * height * width
    const [n, e] = [Math.floor(i / size), i % size]
    const per = channels * patch * patch
    const [p, within] = [Math.floor(e / per), e % per]
    const [c, r, q] = [
      Math.floor(within / (patch * patch)),
      Math.floor((within % (patch * patch)) / patch),
      within % patch,
    ]
    const [row, column] = [Math.floor(p / (width / patch)), p % (width / patch)]
    return n * size + (c * height + row * patch + r) * width + column * patch + q
  }

  private step(step: Step): void {
    const d = (i: number): number => sizeAt(step.ints[i] ?? 0, this.batch)
    const dims = (from: number, count: number): number[] => Array.from({ length: count }, (_, i) => d(from + i))
    const buffer = (i: number): Float64Array => this.at(step.buffers[i] as PlanBuffer)
    const optional = (i: number): Float64Array | undefined => {
      const own = step.buffers[i]
      return own && this.at(own)
    }
    switch (step.op) {
      case 'gemm':
        this.gemm(step, d, buffer, optional)
        return
      case 'convolution':
        this.convolution(step, d, buffer, optional)
        return
      case 'max_pool':
      case 'max_pool_backward':
      case 'average_pool':
      case 'average_pool_backward':
        this.pool(step, d, buffer)
        return
      case 'layer_norm': {
        const [rows, columns] = dims(0, 2)
        const [x, y, rstd] = [buffer(0), buffer(1), buffer(2)]
        for (let r = 0; r < rows; r++) {
          const row = x.slice(r * columns, (r + 1) * columns)
          const mean = d(2) === 1 ? 0 : row.reduce((a, v) => a + v, 0) / columns
          rstd[r] = 1 / Math.sqrt(row.reduce((a, v) => a + (v - mean) ** 2, 0) / columns + step.floats[0])
          for (let c = 0; c < columns; c++) y[r * columns + c] = (row[c] - mean) * rstd[r]
        }
        return
      }
      case 'layer_norm_backward': {
        const [rows, columns] = dims(0, 2)
        const [dy, given, dx, addend, statistics] = [buffer(0), buffer(1), buffer(3), optional(4), optional(5)]
        const rstd = statistics === undefined ? buffer(2) : new Float64Array(rows)
        const y = Float64Array.from(given)
        for (let r = 0; r < rows; r++) {
          if (statistics !== undefined) {
            const moments = rowMoments(statistics, r, columns, step.floats[0])
            rstd[r] = moments.rstd
            for (let i = r * columns; i < (r + 1) * columns; i++) y[i] = (given[i] - moments.mean) * moments.rstd
          }
          let [sum, product] = [0, 0]
          for (let i = r * columns; i < (r + 1) * columns; i++) {
            sum += dy[i]
            product += dy[i] * y[i]
          }
          for (let i = r * columns; i < (r + 1) * columns; i++)
            dx[i] =
              (addend?.[i] ?? 0) + rstd[r] * (dy[i] - (d(2) === 1 ? 0 : sum / columns) - (y[i] * product) / columns)
        }
        return
      }
      case 'row_statistics': {
        const [rows, columns] = dims(0, 2)
        for (let r = 0; r < rows; r++) writeStatistics(buffer(1), r, buffer(0), columns, d(2) === 1)
        return
      }
      case 'attention':
      case 'attention_backward':
        this.attention(step, d, buffer)
        return
      case 'elementwise': {
        const rank = d(1)
        const shape = dims(2, rank)
        const operands = [1, 2, 3].map((i) => optional(i))
        const out = buffer(0)
        const f = elementwise(nameOf(functions, step.ints[0]), step.floats)
        let at = 0
        walk(
          shape,
          [0, 1, 2].map((i) => [d(26 + i), dims(8 + 6 * i, rank)]),
          (places) => {
            out[at++] = f(...operands.map((operand, i) => operand?.[places[i]] ?? Number.NaN))
          },
        )
        return
      }
      case 'reduce': {
        const rank = d(1)
        const [shape, strides, mask] = [dims(2, rank), dims(8, rank), d(14)]
        const kept = shape.map((_, i) => i).filter((i) => !((mask >> i) & 1))
        const reduced = shape.map((_, i) => i).filter((i) => (mask >> i) & 1)
        const [out, x] = [buffer(0), buffer(1)]
        let at = 0
        walk(
          kept.map((i) => shape[i]),
          [[d(15), kept.map((i) => strides[i])]],
          ([start]) => {
            const list: number[] = []
            walk(
              reduced.map((i) => shape[i]),
              [[start, reduced.map((i) => strides[i])]],
              ([place]) => void list.push(x[place]),
            )
            out[at++] = reduction(nameOf(reductions, step.ints[0]), list)
          },
        )
        return
      }
      case 'copy': {
        const rank = d(0)
        const [out, x] = [buffer(0), buffer(1)]
        walk(
          dims(1, rank),
          [
            [d(19), dims(7, rank)],
            [d(20), dims(13, rank)],
          ],
          ([from, to]) => {
            out[to] = x[from]
          },
        )
        return
      }
      case 'softmax':
      case 'softmax_backward': {
        const [rows, columns] = dims(0, 2)
        const [out, y] = [buffer(0), buffer(1)]
        for (let r = 0; r < rows; r++) {
          const row = y.slice(r * columns, (r + 1) * columns)
          if (step.op === 'softmax') out.set(softmax(row), r * columns)
          else {
            const dy = buffer(2).slice(r * columns, (r + 1) * columns)
            const sum = row.reduce((a, v, i) => a + v * dy[i], 0)
            out.set(
              row.map((v, i) => v * (dy[i] - sum)),
              r * columns,
            )
          }
        }
        return
      }
      case 'batched_matmul': {
        const [m, n, k] = dims(0, 3)
        const [out, a, b] = [buffer(0), buffer(1), buffer(2)]
        let at = 0
        walk(
          dims(3, 3),
          [
            [d(16), dims(6, 3)],
            [d(17), dims(11, 3)],
          ],
          ([left, right]) => {
            for (let i = 0; i < m; i++)
              for (let j = 0; j < n; j++) {
                let sum = 0
                for (let l = 0; l < k; l++) sum += a[left + i * d(9) + l * d(10)] * b[right + l * d(14) + j * d(15)]
                out[at++] = step.floats[0] * sum
              }
          },
        )
        return
      }
      case 'gather':
      case 'scatter_add': {
        const [outer, axis, inner, count] = dims(0, 4)
        const [out, x, index] = [buffer(0), buffer(1), buffer(2)]
        if (step.op === 'scatter_add') out.fill(0)
        for (let o = 0; o < outer; o++)
          for (let i = 0; i < count; i++)
            for (let e = 0; e < inner; e++) {
              const [whole, part] = [(o * axis + index[i]) * inner + e, (o * count + i) * inner + e]
              if (step.op === 'gather') out[part] = x[whole]
              else out[whole] += x[part]
            }
        return
      }
      case 'fill':
        buffer(0).fill(step.floats[0])
        return
      case 'loss': {
        const classes = d(0)
        const [logits, gradient] = [buffer(0), buffer(1)]
        for (const [i, label] of this.labels.entries()) {
          const p = softmax(logits.slice(i * classes, (i + 1) * classes))
          for (let c = 0; c < classes; c++) gradient[i * classes + c] = p[c] - (c === label ? 1 : 0)
        }
        return
      }
    }
  }

  private gemm(
    step: Step,
    d: (i: number) => number,
    buffer: (i: number) => Float64Array,
    optional: (i: number) => Float64Array | undefined,
  ): void {
    const [rows, n, k] = [d(0), d(1), d(2)]
    const [a, b, out] = [buffer(0), buffer(1), buffer(2)]
    const [bias, scale, residual, aux, table] = [3, 4, 5, 6, 7].map(optional)
    const mapped = (r: number, from: number): number =>
      d(from) === 0 ? r : Math.floor(r / d(from)) * d(from + 1) + d(from + 2) + (r % d(from))
    const kind = nameOf(epilogues, step.ints[3])
    const [norm, sums, statistics, dots] = [8, 9, 10, 11].map(optional)
    for (let r = 0; r < rows; r++) {
      const [source, target] = [mapped(r, 4) * k, mapped(r, 7) * n]
      const backward = kind === 'norm_backward'
      const { mean, rstd } = norm ? rowMoments(norm, r, backward ? n : k, step.floats[0]) : { mean: 0, rstd: 1 }
      const slope = backward
        ? (dots?.slice(r * d(12), (r + 1) * d(12)) ?? new Float64Array(0)).reduce((a, x) => a + x, 0) / n
        : 0
      const preActivations = new Float64Array(n)
      for (let j = 0; j < n; j++) {
        let x = 0
        for (let l = 0; l < k; l++) x += a[source + l] * b[j * k + l]
        x = rstd * (x - mean * (sums?.[j] ?? 0))
        if (!kind.endsWith('_backward')) x += bias?.[j] ?? 0
        const at = target + j
        if (backward) {
          const normalised = rstd * ((aux as Float64Array)[at] - mean)
          out[at] = (residual?.[at] ?? 0) + x - rstd * normalised * slope
        } else if (kind === 'swiglu' || kind === 'swiglu_backward') preActivations[j] = x
        else finish(kind, x, at, scale?.[j] ?? 1, table?.[(r % d(7)) * n + j] ?? 0, { out, residual, aux })
      }
      if (kind === 'swiglu') {
        aux?.set(preActivations, target)
        for (let j = 0; j < n; j += 2)
          out[(target + j) / 2] = elementwise('silu', [])(preActivations[j]) * preActivations[j + 1]
      }
      if (kind === 'swiglu_backward')
        for (let j = 0; j < n; j++) {
          const at = 2 * (target + j)
          const [a, b] = [(aux as Float64Array)[at], (aux as Float64Array)[at + 1]]
          out[at] = elementwise('silu_backward', [])(a, preActivations[j] * b)
          out[at + 1] = preActivations[j] * elementwise('silu', [])(a)
        }
      if (statistics !== undefined) writeStatistics(statistics, mapped(r, 7), out, n, d(11) === 1)
      for (let from = 0; dots !== undefined && !backward && from < n; from += STATISTICS_COLUMNS) {
        let sum = 0
        const width = kind === 'swiglu_backward' ? 2 : 1
        for (let j = from * width; j < Math.min(n, from + STATISTICS_COLUMNS) * width; j++)
          sum += out[target * width + j] * ((aux as Float64Array)[target * width + j] - (bias?.[j] ?? 0))
        dots[mapped(r, 7) * Math.ceil(n / STATISTICS_COLUMNS) + from / STATISTICS_COLUMNS] = sum
      }
    }
  }

  private convolution(
    step: Step,
    d: (i: number) => number,
    buffer: (i: number) => Float64Array,
    optional: (i: number) => Float64Array | undefined,
  ): void {
    const [images, n] = [d(0), d(1)]
    const [a, b, out] = [buffer(0), buffer(1), buffer(2)]
    const [bias, scale, residual, aux] = [3, 4, 5, 6].map(optional)
    const kind = nameOf(epilogues, step.ints[2])
    const window = windowAt(4, d)
    const { channels } = window
    const [height, width, strideY, strideX, firstY, firstX] = [17, 18, 19, 20, 21, 22].map(d)
    for (let image = 0; image < images; image++)
      eachPosition(window, (y, x, taps) => {
        const pixel = (image * height + firstY + y * strideY) * width + firstX + x * strideX
        for (let j = 0; j < n; j++) {
          let sum = bias?.[j] ?? 0
          for (const { tap, at } of taps)
            for (let c = 0; c < channels; c++)
              sum += a[(image * window.pixels + at) * channels + c] * b[(j * window.taps + tap) * channels + c]
          finish(kind, sum, pixel * n + j, scale?.[j] ?? 1, 0, { out, residual, aux })
        }
      })
  }

  private pool(step: Step, d: (i: number) => number, buffer: (i: number) => Float64Array): void {
    const window = windowAt(2, d)
    const { channels, pixels } = window
    const backward = step.op.endsWith('backward')
    if (backward) buffer(0).fill(0)
    const small = backward ? buffer(step.op === 'max_pool_backward' ? 2 : 1) : buffer(0)
    for (let image = 0; image < d(0); image++) {
      let position = image * window.rowsY * window.rowsX
      eachPosition(window, (_y, _x, taps) => {
        for (let c = 0; c < channels; c++) {
          const places = taps.map(({ at }) => (image * pixels + at) * channels + c)
          const own = position * channels + c
          const share = 1 / (d(15) === 1 ? window.taps : places.length)
          if (step.op === 'average_pool') small[own] = share * places.reduce((sum, at) => sum + buffer(1)[at], 0)
          else if (step.op === 'average_pool_backward') for (const at of places) buffer(0)[at] += share * small[own]
          else {
            const x = buffer(1)
            const greatest = places.reduce((best, at) => (x[at] > x[best] ? at : best))
            if (backward) buffer(0)[greatest] += small[own]
            else small[own] = x[greatest]
          }
        }
        position++
      })
    }
  }

  private attention(step: Step, d: (i: number) => number, buffer: (i: number) => Float64Array): void {
    const [images, heads, length, size, queries] = [d(0), d(1), d(2), d(3), d(20) || d(2)]
    const [scale] = step.floats
    const [q, k, v, out, lse] = [0, 1, 2, 3, 4].map(buffer)
    for (let n = 0; n < images; n++)
      for (let h = 0; h < heads; h++) {
        const at = (which: number, row: number, column: number): number =>
          d(4 + 4 * which) + n * d(5 + 4 * which) + h * d(6 + 4 * which) + row * d(7 + 4 * which) + column
        const dot = (x: Float64Array, wx: number, i: number, y: Float64Array, wy: number, j: number): number => {
          let sum = 0
          for (let c = 0; c < size; c++) sum += x[at(wx, i, c)] * y[at(wy, j, c)]
          return sum
        }
        if (step.op === 'attention_backward')
          for (const [i, which] of [6, 7, 8].entries())
            for (let row = 0; row < (which === 6 ? queries : length); row++)
              for (let c = 0; c < size; c++) buffer(which)[at(i, row, c)] = 0
        for (let i = 0; i < queries; i++) {
          const scores = Float64Array.from({ length }, (_, j) => scale * dot(q, 0, i, k, 1, j))
          const p = softmax(scores)
          if (step.op === 'attention') {
            const highest = Math.max(...scores)
            lse[(n * heads + h) * queries + i] =
              highest + Math.log(scores.reduce((a, s) => a + Math.exp(s - highest), 0))
            for (let c = 0; c < size; c++) {
              let sum = 0
              for (let j = 0; j < length; j++) sum += p[j] * v[at(2, j, c)]
              out[at(3, i, c)] = sum
            }
            continue
          }
          const [dout, dq, dk, dv] = [5, 6, 7, 8].map(buffer)
          const delta = dot(dout, 3, i, out, 3, i)
          for (let j = 0; j < length; j++) {
            const ds = scale * p[j] * (dot(dout, 3, i, v, 2, j) - delta)
            for (let c = 0; c < size; c++) {
              dq[at(0, i, c)] += ds * k[at(1, j, c)]
              dk[at(1, j, c)] += ds * q[at(0, i, c)]
              dv[at(2, j, c)] += p[j] * dout[at(3, i, c)]
            }
          }
        }
      }
  }
}

const STATISTICS_COLUMNS = 64

/** Mean and sum of squared deviations (rms: 0 and sum of squares) of each 64 columns of row r. */
function writeStatistics(to: Float64Array, r: number, x: Float64Array, columns: number, rms: boolean): void {
  for (let from = 0; from < columns; from += STATISTICS_COLUMNS) {
    const part = x.slice(r * columns + from, r * columns + Math.min(columns, from + STATISTICS_COLUMNS))
    const mean = rms ? 0 : part.reduce((a, v) => a + v, 0) / part.length
    const at = 2 * (r * Math.ceil(columns / STATISTICS_COLUMNS) + from / STATISTICS_COLUMNS)
    to[at] = mean
    to[at + 1] = part.reduce((a, v) => a + (v - mean) ** 2, 0)
  }
}

function rowMoments(from: Float64Array, r: number, columns: number, epsilon: number): { mean: number; rstd: number } {
  const parts = Math.ceil(columns / STATISTICS_COLUMNS)
  const all = Array.from({ length: parts }, (_, i) => ({
    size: Math.min(STATISTICS_COLUMNS, columns - i * STATISTICS_COLUMNS),
    mean: from[2 * (r * parts + i)],
    squares: from[2 * (r * parts + i) + 1],
  }))
  const mean = all.reduce((a, part) => a + part.size * part.mean, 0) / columns
  const squares = all.reduce((a, part) => a + part.squares + part.size * (part.mean - mean) ** 2, 0)
  return { mean, rstd: 1 / Math.sqrt(squares / columns + epsilon) }
}

/** What an epilogue makes of element `at` of a product, the bias included. */
function finish(
  kind: string,
  product: number,
  at: number,
  scale: number,
  row: number,
  { out, residual, aux }: { out: Float64Array; residual: Float64Array | undefined; aux: Float64Array | undefined },
): void {
  const x = scale * product + row + (residual?.[at] ?? 0)
  if (kind === 'store' || kind === 'store_float') out[at] = x
  else if (kind.endsWith('_backward')) out[at] = elementwise(kind, [])((aux as Float64Array)[at], x)
  else {
    if (aux !== undefined) aux[at] = x
    out[at] = elementwise(kind, [])(x)
  }
}

function windowAt(from: number, d: (i: number) => number) {
  const [height, width, channels, rowsY, rowsX, strideY, strideX, firstY, firstX, tapsY, tapsX, stepY, stepX] =
    Array.from({ length: 13 }, (_, i) => d(from + i))
  const sizes = { height, width, channels, rowsY, rowsX, strideY, strideX, firstY, firstX, tapsY, tapsX, stepY, stepX }
  return { ...sizes, pixels: height * width, taps: tapsY * tapsX }
}

/** Every position of a window, with its taps that are inside of the picture: number and pixel of each. */
function eachPosition(
  w: ReturnType<typeof windowAt>,
  visit: (y: number, x: number, taps: { tap: number; at: number }[]) => void,
): void {
  for (let y = 0; y < w.rowsY; y++)
    for (let x = 0; x < w.rowsX; x++) {
      const taps: { tap: number; at: number }[] = []
      for (let tap = 0; tap < w.taps; tap++) {
        const row = w.firstY + y * w.strideY + Math.floor(tap / w.tapsX) * w.stepY
        const column = w.firstX + x * w.strideX + (tap % w.tapsX) * w.stepX
        if (row >= 0 && row < w.height && column >= 0 && column < w.width)
          taps.push({ tap, at: row * w.width + column })
      }
      visit(y, x, taps)
    }
}

function walk(
  shape: readonly number[],
  operands: readonly (readonly [number, readonly number[]])[],
  visit: (places: number[]) => void,
): void {
  const places = operands.map(([offset]) => offset)
  const index = shape.map(() => 0)
  const total = shape.reduce((a, b) => a * b, 1)
  for (let count = 0; count < total; count++) {
    visit(places)
    for (let axis = shape.length - 1; axis >= 0; axis--) {
      index[axis]++
      for (const [i, [, strides]] of operands.entries()) places[i] += strides[axis]
      if (index[axis] < shape[axis]) break
      for (const [i, [, strides]] of operands.entries()) places[i] -= strides[axis] * shape[axis]
      index[axis] = 0
    }
  }
}

const nameOf = (table: Readonly<Record<string, number>>, code: Dim | undefined): string =>
  Object.keys(table).find((name) => table[name] === code) ?? 'unknown'

function softmax(row: Float64Array): Float64Array {
  const highest = row.reduce((a, b) => Math.max(a, b), Number.NEGATIVE_INFINITY)
  const powers = row.map((x) => Math.exp(x - highest))
  const sum = powers.reduce((a, b) => a + b, 0)
  return powers.map((x) => x / sum)
}

function reduction(name: string, list: readonly number[]): number {
  const sum = (of: (x: number) => number): number => list.reduce((a, x) => a + of(x), 0)
  switch (name) {
    case 'sum':
      return sum((x) => x)
    case 'mean':
      return sum((x) => x) / list.length
    case 'maximum':
      return Math.max(...list)
    case 'minimum':
      return Math.min(...list)
    case 'sum_squares':
      return sum((x) => x * x)
    case 'sum_magnitudes':
      return sum(Math.abs)
    case 'product':
      return list.reduce((a, x) => a * x, 1)
    default:
      throw new Error(name)
  }
}

const phi = (x: number): number => 0.5 * (1 + erf(x / Math.SQRT2))
const tanhArgument = (x: number): number => Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3)

function elementwise(name: string, p: readonly number[]): (...operands: number[]) => number {
  const table: Readonly<Record<string, (a: number, b: number, c: number) => number>> = {
    identity: (a) => a,
    negate: (a) => -a,
    absolute: Math.abs,
    exponential: Math.exp,
    logarithm: Math.log,
    square_root: Math.sqrt,
    reciprocal: (a) => 1 / a,
    reciprocal_square_root: (a) => 1 / Math.sqrt(a),
    sigmoid: (a) => 1 / (1 + Math.exp(-a)),
    hyperbolic_tangent: Math.tanh,
    error_function: erf,
    gelu_erf: (a) => a * phi(a),
    gelu_tanh: (a) => 0.5 * a * (1 + Math.tanh(tanhArgument(a))),
    relu: (a) => Math.max(a, 0),
    silu: (a) => a / (1 + Math.exp(-a)),
    silu_backward: (a, g) => {
      const s = 1 / (1 + Math.exp(-a))
      return g * (s + a * s * (1 - s))
    },
    sign: Math.sign,
    softplus: (a) => Math.log1p(Math.exp(a)),
    sine: Math.sin,
    cosine: Math.cos,
    scale_shift: (a) => p[0] * a + p[1],
    clip: (a) => Math.min(Math.max(a, p[0]), p[1]),
    hard_sigmoid: (a) => Math.min(Math.max(p[0] * a + p[1], 0), 1),
    add: (a, b) => a + b,
    subtract: (a, b) => a - b,
    multiply: (a, b) => a * b,
    divide: (a, b) => a / b,
    power: (a, b) => a ** b,
    minimum: (a, b) => Math.min(a, b),
    maximum: (a, b) => Math.max(a, b),
    greater: (a, b) => (a > b ? 1 : 0),
    greater_or_equal: (a, b) => (a >= b ? 1 : 0),
    less: (a, b) => (a < b ? 1 : 0),
    less_or_equal: (a, b) => (a <= b ? 1 : 0),
    equal: (a, b) => (a === b ? 1 : 0),
    select: (a, b, c) => (a !== 0 ? b : c),
    gelu_erf_backward: (a, g) => g * (phi(a) + (a * Math.exp(-a * a * 0.5)) / Math.sqrt(2 * Math.PI)),
    gelu_tanh_backward: (a, g) => {
      const t = Math.tanh(tanhArgument(a))
      return g * (0.5 * (1 + t) + 0.5 * a * (1 - t * t) * Math.sqrt(2 / Math.PI) * (1 + 3 * 0.044715 * a * a))
    },
    relu_backward: (a, g) => (a > 0 ? g : 0),
  }
  const f = table[name]
  if (f === undefined) throw new Error(`function ${name} has no definition here`)
  return f
}
