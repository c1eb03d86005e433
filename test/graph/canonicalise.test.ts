import { describe, expect, it } from 'vitest'
import { canonicalise, type Dim, Graph, GraphBuilder, N, type Value } from '#signstep/graph/index.js'
import { float32Tensor, tensorFromNumbers } from '#signstep/tensor/index.js'
import { difference, randomArray, runGraph } from './run-graph.js'

type Build = (b: GraphBuilder, x: Value) => Value

function graphOf(shape: readonly Dim[], build: Build): Graph {
  const b = new GraphBuilder(new Graph('test'))
  const x = b.input('x', 'float32', shape)
  b.graph.outputs.push(build(b, x))
  return b.graph
}

const parameter = (b: GraphBuilder, name: string, shape: readonly number[], seed = 3): Value =>
  b.parameter(float32Tensor(shape, randomArray(shape, seed).data), name)

const vector = (b: GraphBuilder, values: readonly number[]): Value => b.constant(float32Tensor([values.length], values))

interface Outcome {
  readonly ops: readonly string[]
  readonly graph: Graph
}

/** Rewrites, checks that the function is the same at batch 2, and lists the operators left. */
function rewritten(shape: readonly Dim[], build: Build, keepParameters = true, tolerance = 1e-6): Outcome {
  const graph = graphOf(shape, build)
  const before = graph.nodes.length
  const result = canonicalise(graph, { keepParameters })
  expect(graph.nodes.length, 'the given graph is left alone').toBe(before)
  const input = randomArray(shape.map((dim) => (typeof dim === 'number' ? dim : 2 * dim.factor)))
  expect(difference(runGraph(graph, [input])[0], runGraph(result, [input])[0])).toBeLessThan(tolerance)
  return { ops: result.nodes.map(({ op }) => op), graph: result }
}

describe('normalisations written in primitives', () => {
  const centred: Build = (b, x) => b.sub(x, b.reduceMean(x, [-1]))

  it('become LayerNormalization with the scale and shift of the file', () => {
    const { ops, graph } = rewritten([N, 5, 8], (b, x) => {
      const c = centred(b, x)
      const variance = b.reduceMean(b.emit('Pow', [c, b.scalar(2)]), [-1])
      const y = b.div(c, b.sqrt(b.add(variance, 1e-5)))
      return b.add(b.mul(y, parameter(b, 'gamma', [8])), parameter(b, 'beta', [8], 4))
    })
    expect(ops).toEqual(['LayerNormalization'])
    expect(graph.nodes[0].inputs.slice(1).map((value) => value?.name)).toEqual(['gamma', 'beta'])
    expect(graph.nodes[0].attributes).toMatchObject({ axis: -1 })
    expect(graph.nodes[0].attributes.epsilon).toBeCloseTo(1e-5, 9)
  })

  it('are found with the square as a product, the root as a power and a scale on the left', () => {
    const { ops } = rewritten([N, 6, 4], (b, x) => {
      const c = centred(b, x)
      const root = b.emit('Pow', [b.add(b.reduceMean(b.mul(c, c), [-1]), 1e-6), b.scalar(-0.5)])
      return b.mul(parameter(b, 'gamma', [4]), b.mul(root, c))
    })
    expect(ops).toEqual(['LayerNormalization'])
  })

  it('keep their primitives over an axis that LayerNormalization cannot take', () => {
    const { ops } = rewritten([N, 6, 4], (b, x) => {
      const c = b.sub(x, b.reduceMean(x, [1]))
      return b.div(c, b.sqrt(b.add(b.reduceMean(b.mul(c, c), [1]), 1e-6)))
    })
    expect(ops).not.toContain('LayerNormalization')
  })

  it('become RMSNormalization where nothing is subtracted', () => {
    const { ops } = rewritten([N, 3, 8], (b, x) => {
      const root = b.sqrt(b.add(b.reduceMean(b.emit('Pow', [x, b.scalar(2)]), [-1]), 1e-6))
      return b.mul(b.mul(x, b.emit('Reciprocal', [root])), parameter(b, 'gamma', [8]))
    })
    expect(ops).toEqual(['RMSNormalization'])
  })

  it('take no second bias', () => {
    const { ops } = rewritten([N, 8], (b, x) => {
      const norm = b.emit('LayerNormalization', [x, parameter(b, 'g', [8]), parameter(b, 'b', [8], 5)], { axis: -1 })
      return b.add(norm, parameter(b, 'c', [8], 6))
    })
    expect(ops).toEqual(['LayerNormalization', 'Add'])
  })
})

describe('GELU', () => {
  const cdf: Build = (b, x) => b.add(b.emit('Erf', [b.div(x, Math.SQRT2)]), 1)
  const spellings: Record<string, Build> = {
    'x·(1 + erf)·½': (b, x) => b.mul(b.mul(x, cdf(b, x)), 0.5),
    'x·(½·(1 + erf))': (b, x) => b.mul(x, b.mul(cdf(b, x), 0.5)),
    '(½·x)·(1 + erf)': (b, x) => b.mul(b.mul(x, 0.5), cdf(b, x)),
    'x·(1 + erf)/2': (b, x) => b.div(b.mul(x, cdf(b, x)), 2),
    '½x + ½x·erf': (b, x) => {
      const half = b.mul(x, 0.5)
      return b.add(half, b.mul(half, b.emit('Erf', [b.mul(x, Math.SQRT1_2)])))
    },
  }
  it.each(Object.entries(spellings))('is one node from %s', (_, build) => {
    const { ops, graph } = rewritten([N, 7], build)
    expect(ops).toEqual(['Gelu'])
    expect(graph.nodes[0].attributes.approximate).toBe('none')
  })

  it('is found where its argument is itself a sum', () => {
    const { ops } = rewritten([N, 4], (b, x) => {
      const shifted = b.add(x, vector(b, [1, 2, 3, 4]))
      return b.mul(b.mul(shifted, cdf(b, shifted)), 0.5)
    })
    expect(ops).toEqual(['Add', 'Gelu'])
  })

  const scale = Math.sqrt(2 / Math.PI)
  const tanhSpellings: Record<string, Build> = {
    'tanh(s·(x + 0.044715·x³))': (b, x) => {
      const cube = b.mul(b.emit('Pow', [x, b.scalar(3)]), 0.044715)
      const tanh = b.emit('Tanh', [b.mul(b.add(x, cube), scale)])
      return b.mul(b.mul(x, 0.5), b.add(tanh, 1))
    },
    'tanh(s·x·(1 + 0.044715·x·x))': (b, x) => {
      const square = b.add(b.mul(b.mul(x, 0.044715), x), 1)
      const tanh = b.emit('Tanh', [b.mul(b.mul(x, 0.7978845608), square)])
      return b.mul(b.mul(x, b.add(tanh, 1)), 0.5)
    },
  }
  it.each(Object.entries(tanhSpellings))('in its tanh form is one node from %s', (_, build) => {
    const { ops, graph } = rewritten([N, 7], build)
    expect(ops).toEqual(['Gelu'])
    expect(graph.nodes[0].attributes.approximate).toBe('tanh')
  })

  it('is not seen in x·σ(1.702·x), which is another function', () => {
    const { ops } = rewritten([N, 7], (b, x) => b.mul(x, b.emit('Sigmoid', [b.mul(x, 1.702)])))
    expect(ops).toEqual(['Mul', 'Sigmoid', 'Mul'])
  })

  it('is not seen where a constant differs', () => {
    const { ops } = rewritten([N, 7], (b, x) => b.mul(b.mul(x, b.add(b.emit('Erf', [b.mul(x, 0.7)]), 1)), 0.5))
    expect(ops).toContain('Erf')
  })
})

describe('names', () => {
  it('of the results that are left are those of the file', () => {
    const graph = graphOf([N, 6], (b, x) =>
      b.add(
        b.matMul(b.exp(b.mul(x, vector(b, [1, 1, 1, 1, 1, 1]))), parameter(b, 'w', [6, 4])),
        parameter(b, 'bias', [4]),
      ),
    )
    const [, exponential, , sum] = graph.nodes.map(({ outputs }) => outputs[0])
    exponential.name = 'features'
    sum.name = 'logits'
    const result = canonicalise(graph, { keepParameters: true })
    expect(result.nodes.map(({ outputs }) => outputs[0].name)).toEqual(['features', 'logits'])
    expect(result.outputs.map(({ name }) => name)).toEqual(['logits'])
    const all = result.nodes.flatMap(({ inputs, outputs }) => [...inputs, ...outputs])
    expect(new Set(all.map((value) => value?.name)).size).toBe(new Set(all).size)
  })
})

describe('linear layers', () => {
  it('of two axes become Gemm', () => {
    const { ops } = rewritten([N, 6], (b, x) =>
      b.add(b.matMul(x, parameter(b, 'weight', [6, 4])), parameter(b, 'bias', [4], 5)),
    )
    expect(ops).toEqual(['Gemm'])
  })

  it('of three axes stay MatMul and Add', () => {
    const { ops } = rewritten([N, 3, 6], (b, x) =>
      b.add(b.matMul(x, parameter(b, 'weight', [6, 4])), parameter(b, 'bias', [4], 5)),
    )
    expect(ops).toEqual(['MatMul', 'Add'])
  })
})

describe('BatchNormalization behind a convolution', () => {
  const build: Build = (b, x) => {
    const conv = b.emit('Conv', [x, parameter(b, 'w', [4, 3, 3, 3]), parameter(b, 'bias', [4], 6)], {
      kernel_shape: [3, 3],
      pads: [1, 1, 1, 1],
    })
    const statistics = [7, 8, 9].map((seed) => parameter(b, `p${seed}`, [4], seed))
    const variance = b.parameter(float32Tensor([4], [0.5, 1, 2, 3]), 'variance')
    return b.emit('BatchNormalization', [conv, ...statistics, variance], { epsilon: 1e-5 })
  }

  it('is folded into its weights', () => {
    expect(rewritten([N, 3, 5, 5], build, false).ops).toEqual(['Conv'])
  })

  it('stays where gradients in the initialisers will be asked for', () => {
    expect(rewritten([N, 3, 5, 5], build, true).ops).toEqual(['Conv', 'BatchNormalization'])
  })

  it('stays where the convolution is read elsewhere too', () => {
    const { ops } = rewritten(
      [N, 3, 5, 5],
      (b, x) => {
        const normalised = build(b, x)
        return b.add(normalised, normalised.producer!.inputs[0]!)
      },
      false,
    )
    expect(ops).toEqual(['Conv', 'BatchNormalization', 'Add'])
  })
})

describe('masks', () => {
  const ones = (b: GraphBuilder, shape: readonly Dim[]) =>
    b.expand(b.constant(tensorFromNumbers('bool', [1], [1])), shape)

  it('of ones over the batch vanish, with the guard against rows of −∞', () => {
    const { ops } = rewritten([N, 4, 6], (b, x) => {
      const scores = b.matMul(x, b.matrixTranspose(x))
      const mask = b.where(ones(b, [N, 4, 4]), b.scalar(0), -3.4e38)
      const p = b.emit('Softmax', [b.add(scores, mask)], { axis: -1 })
      return b.where(b.emit('IsNaN', [p]), b.scalar(0), p)
    })
    expect(ops).toEqual(['Transpose', 'MatMul', 'Softmax'])
  })

  it('that hide something stay', () => {
    const { ops } = rewritten([N, 4, 6], (b, x) => {
      const scores = b.matMul(x, b.matrixTranspose(x))
      const hidden = Array.from({ length: 16 }, (_, i) => (i % 3 === 1 ? -100 : 0))
      return b.emit('Softmax', [b.add(scores, b.constant(float32Tensor([4, 4], hidden)))], { axis: -1 })
    })
    expect(ops).toEqual(['Transpose', 'MatMul', 'Add', 'Softmax'])
  })

  it('of −∞ keep their guard', () => {
    const { ops } = rewritten([N, 2, 6], (b, x) => {
      const scores = b.matMul(x, b.matrixTranspose(x))
      const mask = b.constant(float32Tensor([2, 2], [0, -Infinity, -Infinity, -Infinity]))
      const p = b.emit('Softmax', [b.add(scores, mask)], { axis: -1 })
      return b.where(b.emit('IsNaN', [p]), b.scalar(0), p)
    })
    expect(ops).toContain('IsNaN')
  })
})

describe('constants added one after the other', () => {
  it('are added up, across a reshape of the leading axes', () => {
    const build: Build = (b, x) => {
      const biased = b.add(b.exp(x), parameter(b, 'bias', [1, 2, 3, 3]))
      const apart = b.emit('Reshape', [biased, b.ints([-1, 4, 2, 3, 3])])
      return b.emit('Relu', [b.add(apart, parameter(b, 'mask', [1, 4, 1, 3, 3], 5))])
    }
    expect(rewritten([{ factor: 4 }, 2, 3, 3], build, false).ops).toEqual(['Exp', 'Reshape', 'Add', 'Relu'])
    expect(rewritten([{ factor: 4 }, 2, 3, 3], build, true).ops).toEqual(['Exp', 'Add', 'Reshape', 'Add', 'Relu'])
  })

  it('are not, where the reshape cuts through the axes of the first', () => {
    const build: Build = (b, x) => {
      const biased = b.add(x, parameter(b, 'bias', [4, 6]))
      return b.add(b.emit('Reshape', [biased, b.ints([-1, 6, 4])]), parameter(b, 'other', [4], 5))
    }
    expect(rewritten([N, 4, 6], build, false).ops).toEqual(['Add', 'Reshape', 'Add'])
  })
})

describe('the scale of attention', () => {
  it('on both operands is applied once', () => {
    const { ops, graph } = rewritten([N, 2, 5, 4], (b, x) => {
      const q = b.mul(x, 4 ** -0.25)
      const k = b.mul(b.matrixTranspose(x), 4 ** -0.25)
      return b.matMul(q, k)
    })
    expect(ops.filter((op) => op === 'Mul')).toHaveLength(1)
    const factor = graph.nodes.find(({ op }) => op === 'Mul')?.inputs[1]?.constant?.data[0]
    expect(factor).toBeCloseTo(0.5, 7)
  })

  it('below the transpose, and as a quotient, too', () => {
    const { ops } = rewritten([N, 2, 5, 4], (b, x) =>
      b.matMul(b.div(x, 2), b.matrixTranspose(b.mul(b.emit('Neg', [x]), 0.25))),
    )
    expect([...ops].sort()).toEqual(['MatMul', 'Mul', 'Neg', 'Transpose'])
  })
})

describe('the Attention operator', () => {
  const softmax = (b: GraphBuilder, scores: Value) => b.emit('Softmax', [scores], { axis: -1 })
  /** Softmax(QKᵀ/√d + mask)V with heads apart, as the definition says it. */
  const defined = (b: GraphBuilder, q: Value, k: Value, v: Value, mask?: Value) => {
    const scores = b.div(b.matMul(q, b.matrixTranspose(k)), 2)
    return b.matMul(softmax(b, mask === undefined ? scores : b.add(scores, mask)), v)
  }
  const heads = (b: GraphBuilder, x: Value) => b.transpose(b.reshape(x, [N, 5, 2, 4]), [0, 2, 1, 3])

  function agrees(attention: Build, definition: Build): readonly string[] {
    const [given, wanted] = [attention, definition].map((build) => graphOf([N, 5, 8], build))
    const result = canonicalise(given, { keepParameters: true })
    const input = randomArray([2, 5, 8])
    expect(difference(runGraph(wanted, [input])[0], runGraph(result, [input])[0])).toBeLessThan(1e-6)
    return result.nodes.map(({ op }) => op)
  }

  it('is taken apart into products and softmax', () => {
    const ops = agrees(
      (b, x) => b.emit('Attention', [heads(b, x), heads(b, x), heads(b, x)]),
      (b, x) => defined(b, heads(b, x), heads(b, x), heads(b, x)),
    )
    expect(ops).toContain('Softmax')
    expect(ops).not.toContain('Attention')
  })

  it('is taken apart with heads joined in three axes', () => {
    agrees(
      (b, x) => b.emit('Attention', [x, x, x], { q_num_heads: 2, kv_num_heads: 2 }),
      (b, x) => b.reshape(b.transpose(defined(b, heads(b, x), heads(b, x), heads(b, x)), [0, 2, 1, 3]), [N, 5, 8]),
    )
  })

  it('hides later tokens where it is causal', () => {
    const later = Array.from({ length: 25 }, (_, i) => (i % 5 > Math.floor(i / 5) ? -1e9 : 0))
    agrees(
      (b, x) => b.emit('Attention', [heads(b, x), heads(b, x), heads(b, x)], { is_causal: 1 }),
      (b, x) => defined(b, heads(b, x), heads(b, x), heads(b, x), b.constant(float32Tensor([5, 5], later))),
    )
  })

  it('takes masks as booleans and as numbers', () => {
    const open = Array.from({ length: 25 }, (_, i) => (i % 4 === 1 ? 0 : 1))
    const numbers = open.map((bit) => (bit === 1 ? 0 : -1e9))
    const definition: Build = (b, x) =>
      defined(b, heads(b, x), heads(b, x), heads(b, x), b.constant(float32Tensor([5, 5], numbers)))
    for (const mask of [tensorFromNumbers('bool', [5, 5], open), float32Tensor([5, 5], numbers)])
      agrees((b, x) => b.emit('Attention', [heads(b, x), heads(b, x), heads(b, x), b.constant(mask)]), definition)
  })

  it('lets several query heads share the heads of keys and values', () => {
    const shared = (b: GraphBuilder, x: Value) => b.slice(heads(b, x), [0], [1], [1])
    agrees(
      (b, x) => b.emit('Attention', [heads(b, x), shared(b, x), shared(b, x)], { kv_num_heads: 1 }),
      (b, x) => {
        const twiceOver = b.concat([shared(b, x), shared(b, x)], 1)
        return defined(b, heads(b, x), twiceOver, twiceOver)
      },
    )
  })
})

describe('what parameters alone determine', () => {
  const build: Build = (b, x) =>
    b.add(x, b.emit('Sigmoid', [b.matMul(parameter(b, 'a', [3, 4]), parameter(b, 'b', [4, 5]))]))

  it('is computed once, unless their gradients will be asked for', () => {
    expect(rewritten([N, 3, 5], build, false).ops).toEqual(['Add'])
    expect(rewritten([N, 3, 5], build, true).ops).toEqual(['MatMul', 'Sigmoid', 'Add'])
  })
})

describe('what changes nothing goes', () => {
  it('x·1, x + 0, x/1, no padding, a slice of everything, a resize to the same size', () => {
    const { ops } = rewritten([N, 3, 4, 4], (b, x) => {
      let y = b.mul(x, vector(b, [1, 1, 1, 1]))
      y = b.add(y, b.constant(float32Tensor([3, 1, 1], [0, 0, 0])))
      y = b.div(y, vector(b, [1]))
      y = b.emit('Pad', [y, b.ints([0, 0, 0, 0, 0, 0, 0, 0])])
      y = b.slice(y, [0], [100], [2])
      y = b.emit('Resize', [y, undefined, vector(b, [1, 1, 1, 1])], { mode: 'cubic' })
      y = b.emit('Identity', [y])
      return b.emit('Relu', [y])
    })
    expect(ops).toEqual(['Relu'])
  })

  it('but not where broadcasting makes the result larger', () => {
    const { ops } = rewritten([N, 1], (b, x) => b.mul(x, vector(b, [1, 1, 1])))
    expect(ops).toEqual(['Mul'])
  })

  it('nor a parameter that happens to be ones', () => {
    const ones = (b: GraphBuilder) => b.parameter(float32Tensor([4], [1, 1, 1, 1]), 'scale')
    expect(rewritten([N, 4], (b, x) => b.mul(x, ones(b))).ops).toEqual(['Mul'])
    expect(rewritten([N, 4], (b, x) => b.emit('Relu', [b.mul(x, ones(b))]), false).ops).toEqual(['Relu'])
  })

  it('an Expand in front of an operator that broadcasts by itself', () => {
    const { ops } = rewritten([N, 4, 3], (b, x) => b.div(x, b.expand(b.reduceMax(x, [-1]), [N, 4, 3])), true, 1e-6)
    expect(ops).toEqual(['ReduceMax', 'Div'])
  })
})

describe('layout', () => {
  it('of two transposes is one, and none where they cancel', () => {
    expect(rewritten([N, 2, 3], (b, x) => twice(b, x, [1, 2, 0], [1, 0, 2])).ops).toEqual(['Transpose'])
    expect(rewritten([N, 2, 3], (b, x) => b.emit('Relu', [twice(b, x, [0, 2, 1], [0, 2, 1])])).ops).toEqual(['Relu'])
  })

  it('of a transpose that moves an axis of size one is a reshape', () => {
    expect(rewritten([N, 1, 5], (b, x) => b.transpose(x, [1, 0, 2])).ops).toEqual(['Reshape'])
  })

  it('of squeezes, flattens and reshapes in a row is one reshape', () => {
    const { ops } = rewritten([N, 1, 2, 3], (b, x) =>
      b.unsqueeze(b.emit('Flatten', [b.squeeze(x, [1])], { axis: 1 }), [2]),
    )
    expect(ops).toEqual(['Reshape'])
  })

  it('of Kᵀ through joined axes is one transpose', () => {
    const { ops, graph } = rewritten([N, 3, 5, 4], (b, x) => {
      const joined = b.emit('Reshape', [x, b.ints([-1, 5, 4])])
      return b.emit('Reshape', [b.transpose(joined, [0, 2, 1]), b.ints([-1, 3, 4, 5])])
    })
    expect(ops).toEqual(['Transpose'])
    expect(graph.nodes[0].attributes.perm).toEqual([0, 1, 3, 2])
  })

  it('of slices that cover an axis is one split', () => {
    const { ops } = rewritten([N, 6], (b, x) => {
      const [q, k, v] = [0, 2, 4].map((start) => b.slice(x, [start], [start + 2], [1]))
      return b.add(b.mul(q, k), v)
    })
    expect(ops.filter((op) => op === 'Split')).toHaveLength(1)
    expect(ops).not.toContain('Slice')
  })

  it('of gathers that cover an axis is one split', () => {
    const { ops } = rewritten([3, N, 4], (b, x) => {
      const [q, k, v] = [0, 1, 2].map((i) => b.emit('Gather', [x, b.scalar(i, 'int64')], { axis: 0 }))
      return b.add(b.mul(q, k), v)
    })
    expect(ops.filter((op) => op === 'Split')).toHaveLength(1)
    expect(ops).not.toContain('Gather')
  })

  it('of a gathered class token is a slice', () => {
    const { ops } = rewritten([N, 5, 4], (b, x) => b.emit('Gather', [x, b.scalar(0, 'int64')], { axis: 1 }))
    expect(ops).toEqual(['Slice', 'Reshape'])
  })
})

describe('convolutions', () => {
  it('take padding with zeros in front of them', () => {
    const { ops, graph } = rewritten([N, 2, 5, 5], (b, x) => {
      const padded = b.emit('Pad', [x, b.ints([0, 0, 0, 0, 0, 0, 1, 1])])
      return b.emit('Conv', [padded, parameter(b, 'w', [3, 2, 3, 3])], { kernel_shape: [3, 3], strides: [2, 2] })
    })
    expect(ops).toEqual(['Conv'])
    expect(graph.nodes[0].attributes.pads).toEqual([0, 0, 1, 1])
  })

  it('leave padding with another number', () => {
    const { ops } = rewritten([N, 2, 5, 5], (b, x) => {
      const padded = b.emit('Pad', [x, b.ints([0, 0, 1, 1, 0, 0, 1, 1]), b.scalar(0.5)])
      return b.emit('Conv', [padded, parameter(b, 'w', [3, 2, 3, 3])], { kernel_shape: [3, 3] })
    })
    expect(ops).toEqual(['Pad', 'Conv'])
  })
})

describe('a classifier that reads one token', () => {
  const block: Build = (b, x) => {
    const norm = (y: Value, name: string) =>
      b.emit('LayerNormalization', [y, parameter(b, name, [8]), parameter(b, `${name}.b`, [8], 2)], { axis: -1 })
    const linear = (y: Value, name: string, from: number, to: number) =>
      b.matMul(y, parameter(b, name, [from, to], name.length))
    const h = norm(x, 'norm1')
    const [q, k, v] = ['q', 'ke', 'val'].map((name) =>
      b.transpose(b.reshape(linear(h, name, 8, 8), [N, 5, 2, 4]), [0, 2, 1, 3]),
    )
    const p = b.emit('Softmax', [b.matMul(b.mul(q, 0.5), b.matrixTranspose(k))], { axis: -1 })
    const joined = b.reshape(b.transpose(b.matMul(p, v), [0, 2, 1, 3]), [N, 5, 8])
    const y = b.add(x, linear(joined, 'project', 8, 8))
    const z = b.emit('Gelu', [linear(norm(y, 'norm2'), 'expand', 8, 16)])
    return b.emit('Gather', [b.add(y, linear(z, 'contract', 16, 8)), b.scalar(0, 'int64')], { axis: 1 })
  }

  it('needs the last block for that token only', () => {
    const { graph } = rewritten([N, 5, 8], block)
    const gelu = graph.nodes.find(({ op }) => op === 'Gelu')
    const softmax = graph.nodes.find(({ op }) => op === 'Softmax')
    expect(gelu?.outputs[0].shape).toEqual([N, 1, 16])
    expect(softmax?.outputs[0].shape).toEqual([N, 2, 1, 5])
  })

  it('keeps whole blocks where that is asked for', () => {
    const graph = canonicalise(graphOf([N, 5, 8], block), { keepParameters: true, narrow: false })
    expect(graph.nodes.find(({ op }) => op === 'Gelu')?.outputs[0].shape).toEqual([N, 5, 16])
  })
})

function twice(b: GraphBuilder, x: Value, first: readonly number[], second: readonly number[]): Value {
  return b.emit('Transpose', [b.emit('Transpose', [x], { perm: first })], { perm: second })
}
