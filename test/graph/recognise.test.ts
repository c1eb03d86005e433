import { describe, expect, it } from 'vitest'
import {
  type Block,
  type BlockTree,
  canonicalise,
  cost,
  type Dim,
  Graph,
  GraphBuilder,
  N,
  recognise,
  type Value,
} from '#signstep/graph/index.js'
import { float32Tensor } from '#signstep/tensor/index.js'
import { randomArray } from './run-graph.js'

const DIM = 8
const HEADS = 2
const HEAD = DIM / HEADS

/** Writes layers the way exporters do, with a fresh parameter each time one is asked for. */
class Layers {
  readonly b: GraphBuilder
  private count = 0

  constructor(b: GraphBuilder) {
    this.b = b
  }

  parameter(shape: readonly number[]): Value {
    this.count++
    return this.b.parameter(float32Tensor(shape, randomArray(shape, this.count).data), `p${this.count}`)
  }

  linear(x: Value, from: number, to: number): Value {
    return this.b.add(this.b.matMul(x, this.parameter([from, to])), this.parameter([to]))
  }

  norm(x: Value, dim = DIM): Value {
    return this.b.emit('LayerNormalization', [x, this.parameter([dim]), this.parameter([dim])], { axis: -1 })
  }

  mlp(x: Value, hidden = 16): Value {
    return this.linear(this.b.emit('Gelu', [this.linear(x, DIM, hidden)]), hidden, DIM)
  }

  /** [M, tokens, DIM] → the same, q, k and v from one product (timm) or three (Hugging Face). */
  attention(x: Value, packed: boolean, bias?: Value): Value {
    const { b } = this
    const [rows, tokens] = x.shape
    const apart = (y: Value) => b.transpose(b.reshape(y, [rows, tokens, HEADS, HEAD]), [0, 2, 1, 3])
    let [q, k, v]: Value[] = []
    if (packed) {
      const all = b.reshape(this.linear(x, DIM, 3 * DIM), [rows, tokens, 3, HEADS, HEAD])
      const parts = b.emitAll('Split', [b.transpose(all, [2, 0, 3, 1, 4]), b.ints([1, 1, 1])], { axis: 0 }, 3)
      ;[q, k, v] = parts.map((part) => b.squeeze(part, [0]))
    } else [q, k, v] = [0, 1, 2].map(() => apart(this.linear(x, DIM, DIM)))
    let scores = packed
      ? b.matMul(b.mul(q, HEAD ** -0.25), b.mul(b.matrixTranspose(k), HEAD ** -0.25))
      : b.div(b.matMul(q, b.matrixTranspose(k)), HEAD ** 0.5)
    if (bias !== undefined) scores = b.add(scores, bias)
    const o = b.matMul(b.emit('Softmax', [scores], { axis: -1 }), v)
    return this.linear(b.reshape(b.transpose(o, [0, 2, 1, 3]), [rows, tokens, DIM]), DIM, DIM)
  }

  block(x: Value, packed: boolean): Value {
    const y = this.b.add(x, this.attention(this.norm(x), packed))
    return this.b.add(y, this.mlp(this.norm(y)))
  }
}

function recognised(shape: readonly Dim[], build: (layers: Layers, x: Value) => Value): BlockTree {
  const b = new GraphBuilder(new Graph('test'))
  const x = b.input('x', 'float32', shape)
  b.graph.outputs.push(build(new Layers(b), x))
  return recognise(canonicalise(b.graph, { keepParameters: true, narrow: false }))
}

const outline = (blocks: readonly Block[]): unknown[] =>
  blocks.map(({ kind, children }) => (children.length === 0 ? kind : [kind, outline(children)]))

function find(blocks: readonly Block[], kind: Block['kind']): Block[] {
  return blocks.flatMap((block) => [...(block.kind === kind ? [block] : []), ...find(block.children, kind)])
}

const parts = [
  'transformer block',
  [
    'layer normalisation',
    ['attention', expect.any(Array)],
    'layer normalisation',
    ['mlp', ['linear', 'activation', 'linear']],
  ],
]

describe('a vision transformer', () => {
  const build = (packed: boolean) => (layers: Layers, image: Value) => {
    const { b } = layers
    const patches = b.emit('Conv', [image, layers.parameter([DIM, 3, 4, 4]), layers.parameter([DIM])], {
      kernel_shape: [4, 4],
      strides: [4, 4],
    })
    let x = b.transpose(b.reshape(patches, [N, DIM, 4]), [0, 2, 1])
    x = b.concat([b.expand(layers.parameter([1, 1, DIM]), [N, 1, DIM]), x], 1)
    x = b.add(x, layers.parameter([1, 5, DIM]))
    for (let i = 0; i < 2; i++) x = layers.block(x, packed)
    const token = b.emit('Gather', [layers.norm(x), b.scalar(0, 'int64')], { axis: 1 })
    return b.emit('Gemm', [token, layers.parameter([10, DIM]), layers.parameter([10])], { transB: 1 })
  }

  it.each([
    ['one product for q, k and v', true],
    ['a product each', false],
  ])('with %s is understood completely', (_, packed) => {
    const tree = recognised([N, 3, 8, 8], build(packed))
    expect(outline(tree.blocks)).toEqual([
      ['patch embedding', ['convolution']],
      parts,
      parts,
      ['classifier', ['layer normalisation', 'linear']],
    ])
    expect(tree.unrecognised).toEqual([])
    expect(tree.layout).toEqual([])
  })

  it('tells patches, tokens, heads and classes', () => {
    const { blocks } = recognised([N, 3, 8, 8], build(true))
    expect(blocks[0].properties).toMatchObject({ patch: [4, 4], dim: DIM, tokens: 5, classTokens: 1, position: true })
    const [attention] = find(blocks, 'attention')
    expect(attention.properties).toMatchObject({ heads: 2, headDim: 4, tokens: 5, dim: DIM, projections: 1 })
    expect(find(blocks, 'mlp')[0].properties).toMatchObject({ dim: DIM, hidden: 16, activation: 'gelu' })
    expect(blocks.at(-1)?.properties).toMatchObject({ classes: 10, features: DIM, from: 'class token' })
  })

  it('with layer scale says so', () => {
    const { blocks } = recognised([N, 5, DIM], (layers, x) => {
      const { b } = layers
      const y = b.add(x, b.mul(layers.attention(layers.norm(x), true), layers.parameter([DIM])))
      return b.add(y, b.mul(layers.mlp(layers.norm(y)), layers.parameter([DIM])))
    })
    expect(blocks.map(({ kind }) => kind)).toEqual(['transformer block'])
    expect(blocks[0].properties).toEqual({ layerScale: true })
  })

  it('that normalises behind attention and MLP is the same block', () => {
    const { blocks } = recognised([N, 5, DIM], (layers, x) => {
      const y = layers.b.add(x, layers.norm(layers.attention(x, true)))
      return layers.b.add(y, layers.norm(layers.mlp(y)))
    })
    expect(blocks.map(({ kind }) => kind)).toEqual(['transformer block'])
  })
})

describe('window attention', () => {
  /** 4×4 tokens in windows of 2×2, rolled by one. */
  const shifted = (slices: boolean) => (layers: Layers, x: Value) => {
    const { b } = layers
    const roll = (y: Value, by: number) =>
      [1, 2].reduce((z, axis) => {
        const pieces = slices
          ? [b.slice(z, [by], [4], [axis]), b.slice(z, [0], [by], [axis])]
          : [...b.emitAll('Split', [z, b.ints([by, 4 - by])], { axis }, 2)].reverse()
        return b.concat(pieces, axis)
      }, y)
    const rolled = roll(b.reshape(layers.norm(x), [N, 4, 4, DIM]), 1)
    const cut = b.transpose(b.reshape(rolled, [N, 2, 2, 2, 2, DIM]), [0, 1, 3, 2, 4, 5])
    const windows = b.reshape(cut, [{ factor: 4 }, 4, DIM])
    const o = layers.attention(windows, true, layers.parameter([1, HEADS, 4, 4]))
    const joined = b.transpose(b.reshape(o, [N, 2, 2, 2, 2, DIM]), [0, 1, 3, 2, 4, 5])
    const back = b.reshape(roll(b.reshape(joined, [N, 4, 4, DIM]), 3), [N, 16, DIM])
    const y = b.add(x, back)
    return b.add(y, layers.mlp(layers.norm(y)))
  }

  it.each([true, false])('includes roll, partition and reverse (slices: %s)', (slices) => {
    const tree = recognised([N, 16, DIM], shifted(slices))
    expect(tree.unrecognised).toEqual([])
    expect(outline(tree.blocks)).toMatchObject([
      [
        'transformer block',
        [
          'layer normalisation',
          ['window attention', ['linear', 'linear']],
          'layer normalisation',
          ['mlp', expect.any(Array)],
        ],
      ],
    ])
    expect(find(tree.blocks, 'window attention')[0].properties).toMatchObject({
      window: [2, 2],
      windows: 4,
      shift: [1, 1],
      heads: HEADS,
      tokens: 4,
      bias: true,
    })
  })
})

describe('patch merging', () => {
  const merged = (layers: Layers, joined: Value) => {
    const { b } = layers
    return b.matMul(layers.norm(b.reshape(joined, [N, 4, 4 * DIM]), 4 * DIM), layers.parameter([4 * DIM, 2 * DIM]))
  }

  it('is found in a reshape to six axes', () => {
    const { blocks } = recognised([N, 16, DIM], (layers, x) => {
      const grid = layers.b.reshape(x, [N, 2, 2, 2, 2, DIM])
      return merged(layers, layers.b.transpose(grid, [0, 1, 3, 4, 2, 5]))
    })
    expect(outline(blocks)).toEqual([['patch merging', ['layer normalisation', 'linear']]])
    expect(blocks[0].properties).toMatchObject({ inputDim: DIM, dim: 2 * DIM, tokens: 4, norm: 'before' })
  })

  it('is found in four strided slices', () => {
    const { blocks } = recognised([N, 4, 4, DIM], (layers, x) => {
      const pieces = [
        [0, 0],
        [1, 0],
        [0, 1],
        [1, 1],
      ].map((start) => layers.b.slice(x, start, [4, 4], [1, 2], [2, 2]))
      return merged(layers, layers.b.concat(pieces, 3))
    })
    expect(blocks.map(({ kind }) => kind)).toEqual(['patch merging'])
  })
})

describe('convolutional networks', () => {
  const convolution = (layers: Layers, x: Value, from: number, to: number, stride = 1) =>
    layers.b.emit('Conv', [x, layers.parameter([to, from, 3, 3])], {
      kernel_shape: [3, 3],
      strides: [stride, stride],
      pads: [1, 1, 1, 1],
    })
  const batchNorm = (layers: Layers, x: Value, channels: number) => {
    const [scale, shift, mean] = [0, 1, 2].map(() => layers.parameter([channels]))
    const variance = layers.b.parameter(float32Tensor([channels], new Float32Array(channels).fill(1)), 'variance')
    return layers.b.emit('BatchNormalization', [x, scale, shift, mean, variance], { epsilon: 1e-5 })
  }

  it('are residual blocks of convolutions with their norm and activation', () => {
    const tree = recognised([N, 3, 8, 8], (layers, image) => {
      const { b } = layers
      const relu = (y: Value) => b.emit('Relu', [y])
      let x = relu(batchNorm(layers, convolution(layers, image, 3, 8), 8))
      const y = relu(batchNorm(layers, convolution(layers, x, 8, 8), 8))
      x = relu(b.add(batchNorm(layers, convolution(layers, y, 8, 8), 8), x))
      const wide = relu(convolution(layers, x, 8, 16, 2))
      const shortcut = convolution(layers, x, 8, 16, 2)
      x = relu(b.add(convolution(layers, wide, 16, 16), shortcut))
      const pooled = b.emit('Flatten', [b.emit('GlobalAveragePool', [x])], { axis: 1 })
      return b.emit('Gemm', [pooled, layers.parameter([16, 4]), layers.parameter([4])])
    })
    expect(tree.unrecognised).toEqual([])
    expect(tree.blocks.map(({ kind }) => kind)).toEqual([
      'convolution',
      'residual block',
      'residual block',
      'classifier',
    ])
    expect(tree.blocks[0].properties).toMatchObject({ kernel: [3, 3], batchNorm: true, activation: 'relu' })
    expect(tree.blocks[1].properties).toMatchObject({ shortcut: 'identity', activation: 'relu' })
    expect(tree.blocks[2].properties).toMatchObject({ shortcut: 'projection', activation: 'relu' })
    expect(tree.blocks[3].properties).toMatchObject({ classes: 4, features: 16, from: 'average' })
  })

  it('have squeeze-and-excitation seen', () => {
    const { blocks } = recognised([N, 8, 4, 4], (layers, x) => {
      const { b } = layers
      const pointwise = (y: Value, from: number, to: number) =>
        b.emit('Conv', [y, layers.parameter([to, from, 1, 1])], { kernel_shape: [1, 1] })
      const gate = pointwise(b.emit('Relu', [pointwise(b.emit('GlobalAveragePool', [x]), 8, 2)]), 2, 8)
      return b.mul(x, b.emit('HardSigmoid', [gate]))
    })
    expect(blocks.map(({ kind }) => kind)).toEqual(['squeeze-and-excitation'])
    expect(blocks[0].properties).toEqual({ reducedChannels: 2 })
  })
})

describe('what is not known', () => {
  it('is listed, and the rest is still found', () => {
    const tree = recognised([N, 5, DIM], (layers, x) => layers.block(layers.b.emit('Sin', [x]), true))
    expect(tree.blocks.map(({ kind }) => kind)).toEqual(['transformer block'])
    expect(tree.unrecognised.map(({ op }) => op)).toEqual(['Sin'])
  })

  it('is listed inside a residual connection too', () => {
    const tree = recognised([N, 5, DIM], (layers, x) => layers.b.add(x, layers.b.emit('Sin', [layers.mlp(x)])))
    expect(tree.blocks.map(({ kind }) => kind)).toEqual(['residual block'])
    expect(tree.unrecognised.map(({ op }) => op)).toEqual(['Sin'])
  })
})

describe('costs', () => {
  const measured = (shape: readonly Dim[], build: (layers: Layers, x: Value) => Value) => {
    const b = new GraphBuilder(new Graph('test'))
    const x = b.input('x', 'float32', shape)
    b.graph.outputs.push(build(new Layers(b), x))
    return { graph: b.graph, cost: cost(b.graph) }
  }

  it('count a multiply-add twice, biases once and parameters by element', () => {
    const { cost: c } = measured([N, 5, DIM], (layers, x) => layers.linear(x, DIM, 3))
    expect(c.flops).toBe(5 * 3 * DIM * 2 + 5 * 3)
    expect(c.parameters).toBe(DIM * 3 + 3)
  })

  it('of a grouped convolution divide its input channels', () => {
    const { cost: c } = measured([N, 4, 6, 6], (layers, x) =>
      layers.b.emit('Conv', [x, layers.parameter([8, 2, 3, 3])], { kernel_shape: [3, 3], group: 2 }),
    )
    expect(c.flops).toBe(2 * 8 * 4 * 4 * (2 * 9))
  })

  it('keep the input of a GELU, and nothing of a layer with constant weights', () => {
    const { cost: c } = measured([N, 5, DIM], (layers, x) => layers.mlp(x, 16))
    expect(c.keptBytes).toBe(5 * 16 * 4)
  })

  it('keep both operands of a product of activations once, though it is reshaped', () => {
    const { cost: c } = measured([N, 4, DIM], ({ b }, x) => b.matMul(x, b.reshape(x, [N, DIM, 4])))
    expect(c.keptBytes).toBe(4 * DIM * 4)
  })

  it('know how much is alive at once', () => {
    // In a chain an operator sees its input and its output.
    const { cost: c } = measured([N, 100], ({ b }, x) => b.exp(b.neg(b.exp(x))))
    expect(c.peakBytes).toBe(2 * 100 * 4)
  })

  it('leave out what does not depend on the image', () => {
    const { cost: c } = measured([N, DIM], (layers, x) => layers.b.add(x, layers.b.exp(layers.parameter([DIM]))))
    expect(c.flops).toBe(DIM)
    expect(c.parameters).toBe(DIM)
  })

  it('of blocks add up to the total', () => {
    const { graph, cost: c } = measured([N, 5, DIM], (layers, x) => layers.block(layers.block(x, true), false))
    const tree = recognise(graph)
    const sum = tree.blocks.reduce((flops, { nodes }) => flops + c.of(nodes).flops, 0)
    expect(sum).toBe(c.flops)
  })
})
