import {
  type Dim,
  einsumEquation,
  type GraphBuilder,
  intAttribute,
  multiplyDims,
  type Value,
} from '../../graph/index.js'
import type { VjpRule } from '../rule.js'
import { outputGradient, required, unsupported, type VjpRules } from './shared.js'

/** All axes but the last in one: a batch of rows. */
function rows(b: GraphBuilder, x: Value): Value {
  const last = x.shape[x.shape.length - 1]
  const count = x.shape.slice(0, -1).reduce<Dim>((product, dim) => multiplyDims(product, dim) ?? Number.NaN, 1)
  return b.reshape(x, [count, last])
}

const matMul: VjpRule = (c) => {
  const { b } = c
  const [x, y, g] = [required(c, 0), required(c, 1), outputGradient(c)]
  if (x.shape.length === 1 || y.shape.length === 1) return vectorMatMul(c)
  if (y.shape.length === 2) {
    // A weight: two plain products over all rows at once. Gemm takes the weight as it is, so no transposed copy is made.
    const gradientRows = rows(b, g)
    return [
      c.needs[0] ? b.reshape(b.emit('Gemm', [gradientRows, y], { transB: 1 }), x.shape) : undefined,
      c.needs[1] ? b.emit('Gemm', [rows(b, x), gradientRows], { transA: 1 }) : undefined,
    ]
  }
  return [
    c.needs[0] ? b.sumTo(b.matMul(g, b.matrixTranspose(y)), x.shape) : undefined,
    c.needs[1] ? b.sumTo(b.matMul(b.matrixTranspose(x), g), y.shape) : undefined,
  ]
}

/** One-dimensional operands are rows or columns. */
const vectorMatMul: VjpRule = (c) => {
  const { b } = c
  const [x, y, g] = [required(c, 0), required(c, 1), outputGradient(c)]
  const [left, right] = [x.shape.length === 1, y.shape.length === 1]
  const a = left ? b.reshape(x, [1, x.shape[0]]) : x
  const w = right ? b.reshape(y, [y.shape[0], 1]) : y
  // The product of the widened operands has shape [..., rows, columns]; the result lacks the axes of the vectors.
  const lead = left && right ? [] : g.shape.slice(0, left || right ? -1 : -2)
  const last = g.shape[g.shape.length - 1]
  const full = b.reshape(g, [...lead, left ? 1 : last, right ? 1 : last])
  return [
    c.needs[0] ? b.reshape(b.sumTo(b.matMul(full, b.matrixTranspose(w)), a.shape), x.shape) : undefined,
    c.needs[1] ? b.reshape(b.sumTo(b.matMul(b.matrixTranspose(a), full), w.shape), y.shape) : undefined,
  ]
}

/** Y = α·A'·B' + β·C, primes meaning transposed where the attribute says so. */
const gemm: VjpRule = (c) => {
  const { b, node } = c
  const [x, y, g] = [required(c, 0), required(c, 1), outputGradient(c)]
  const [transA, transB] = [intAttribute(node.attributes, 'transA', 0), intAttribute(node.attributes, 'transB', 0)]
  const scale = intAttribute(node.attributes, 'alpha', 1)
  const alpha: Record<string, number> = scale === 1 ? {} : { alpha: scale }
  const product = (p: Value, q: Value, ta: number, tb: number): Value =>
    b.emit('Gemm', [p, q], { ...alpha, ...(ta && { transA: 1 }), ...(tb && { transB: 1 }) })
  const dx = (): Value => (transA ? product(y, g, transB, 1) : product(g, y, 0, 1 - transB))
  const dy = (): Value => (transB ? product(g, x, 1, transA) : product(x, g, 1 - transA, 0))
  const bias = c.inputs[2]
  const beta = intAttribute(node.attributes, 'beta', 1)
  return [
    c.needs[0] ? dx() : undefined,
    c.needs[1] ? dy() : undefined,
    bias && c.needs[2] ? b.sumTo(beta === 1 ? g : b.mul(g, beta), bias.shape) : undefined,
  ]
}

/** Contracts the gradient with all other operands; letters that only this operand has are repeated, axes of size 1 summed again. */
const einsum: VjpRule = (c) => {
  const { b } = c
  const equation = String(c.node.attributes.equation)
  const { terms, result } = einsumEquation(
    equation,
    c.inputs.map((x) => x?.shape.length ?? 0),
  )
  if ([...terms, result].some((term) => new Set(term).size < term.length))
    throw unsupported(c, `equation ${equation} (a diagonal)`)
  return c.inputs.map((x, i) => {
    if (x === undefined || !c.needs[i]) return undefined
    const others = terms.filter((_, k) => k !== i)
    const reachable = [...terms[i]].filter(
      (letter) => result.includes(letter) || others.some((term) => term.includes(letter)),
    )
    const values = [outputGradient(c), ...c.inputs.filter((_, k) => k !== i)]
    const partial = b.emit('Einsum', values, { equation: `${[result, ...others].join()}->${reachable.join('')}` })
    const sizes = x.shape.filter((_, axis) => reachable.includes(terms[i][axis]))
    const open = x.shape.map((dim, axis) => (reachable.includes(terms[i][axis]) ? dim : 1))
    return b.expand(b.reshape(b.sumTo(partial, sizes), open), x.shape)
  })
}

export const matrixRules: VjpRules = { MatMul: matMul, Gemm: gemm, Einsum: einsum }
