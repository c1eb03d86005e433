import { describe, expect, it } from 'vitest'
import { rules } from '#signstep/autodiff/index.js'
import type { GraphBuilder, Value } from '#signstep/graph/index.js'
import { float32Tensor, int64Tensor } from '#signstep/tensor/index.js'
import { type GradientCase, gradientError } from './check-gradient.js'

type Attributes = Record<string, number | string | readonly number[]>
const op =
  (name: string, attributes: Attributes = {}, extra: (b: GraphBuilder) => (Value | undefined)[] = () => []) =>
  (b: GraphBuilder, inputs: Value[]): Value =>
    b.emit(name, [...inputs, ...extra(b)], attributes)
const one = (name: string, attributes: Attributes = {}, range?: readonly [number, number]): GradientCase => ({
  name: `${name} ${JSON.stringify(attributes)}`,
  shapes: [[2, 3]],
  build: op(name, attributes),
  range,
})
const two = (
  name: string,
  range?: readonly [number, number],
  shapes: readonly (readonly number[])[] = [[2, 3], [3]],
): GradientCase => ({
  name: `${name} [${shapes.join('] [')}]`,
  shapes,
  build: op(name),
  range,
})
const withInts = (
  name: string,
  shape: readonly number[],
  lists: readonly (readonly number[] | undefined)[],
  attributes: Attributes = {},
): GradientCase => ({
  name: `${name} [${shape}] ${JSON.stringify(lists)} ${JSON.stringify(attributes)}`,
  shapes: [shape],
  build: op(name, attributes, (b) => lists.map((list) => list && b.ints(list))),
})
const conv = (
  name: string,
  x: readonly number[],
  w: readonly number[],
  attributes: Attributes,
  bias = 0,
): GradientCase => ({
  name: `${name} [${x}] [${w}] ${JSON.stringify(attributes)}`,
  shapes: bias ? [x, w, [bias]] : [x, w],
  build: op(name, attributes),
})
const pool = (name: string, shape: readonly number[], attributes: Attributes): GradientCase => ({
  name: `${name} [${shape}] ${JSON.stringify(attributes)}`,
  shapes: [shape],
  build: op(name, attributes),
})
const indexed = (
  name: string,
  shape: readonly number[],
  indices: readonly number[],
  indexShape: readonly number[],
  attributes: Attributes = {},
): GradientCase => ({
  name: `${name} [${shape}] at [${indices}] of [${indexShape}] ${JSON.stringify(attributes)}`,
  shapes: [shape],
  build: op(name, attributes, (b) => [b.constant(int64Tensor(indices, indexShape))]),
})

const cases: GradientCase[] = [
  ...['Add', 'Sub', 'Mul'].flatMap((name) => [
    two(name),
    two(name, undefined, [
      [2, 1, 3],
      [4, 1],
    ]),
  ]),
  two('Div', [0.5, 2]),
  two('Pow', [0.5, 2]),
  two('Mod', [1, 2.9], [[3], [3]]),
  ...[2, 3, 0.5, -1].map(
    (exponent): GradientCase => ({
      name: `Pow ${exponent}`,
      shapes: [[2, 3]],
      build: op('Pow', {}, (b) => [b.scalar(exponent)]),
      range: [0.5, 2],
    }),
  ),
  two('Min'),
  two('Max'),
  { name: 'Sum of three', shapes: [[2, 3], [3], [1]], build: op('Sum') },
  { name: 'Mean of three', shapes: [[2, 3], [3], [1]], build: op('Mean') },
  {
    name: 'Where',
    shapes: [[2, 3], [3]],
    build: (b, [x, y]) => b.emit('Where', [b.emit('Greater', [x, b.scalar(0)]), x, y]),
  },
  { name: 'Clip', shapes: [[3, 4]], build: (b, [x]) => b.emit('Clip', [x, b.scalar(-0.5), b.scalar(0.4)]) },
  ...[
    'Neg',
    'Abs',
    'Exp',
    'Erf',
    'Sin',
    'Cos',
    'Tan',
    'Atan',
    'Sinh',
    'Cosh',
    'Asinh',
    'Tanh',
    'Sigmoid',
    'Softplus',
    'Softsign',
    'Relu',
    'Mish',
    'HardSwish',
    'Identity',
  ].map((name) => one(name)),
  ...['Log', 'Sqrt', 'Reciprocal'].map((name) => one(name, {}, [0.5, 2])),
  ...['Asin', 'Acos', 'Atanh'].map((name) => one(name, {}, [-0.8, 0.8])),
  one('Acosh', {}, [1.5, 3]),
  one('Gelu'),
  one('Gelu', { approximate: 'tanh' }),
  one('LeakyRelu', { alpha: 0.3 }),
  one('Elu', { alpha: 0.7 }),
  one('Selu'),
  one('Celu', { alpha: 1.5 }),
  one('Swish', { alpha: 1.2 }),
  one('HardSigmoid', { alpha: 0.4, beta: 0.5 }, [-3, 3]),
  one('ThresholdedRelu', { alpha: 0.3 }),
  one('Shrink', { lambd: 0.3, bias: 0.1 }),
  two('PRelu'),
  ...[0, 1, -1].flatMap((axis) => [one('Softmax', { axis }), one('LogSoftmax', { axis })]),
  two('MatMul', undefined, [
    [2, 3],
    [3, 4],
  ]),
  two('MatMul', undefined, [
    [2, 2, 3],
    [3, 4],
  ]),
  two('MatMul', undefined, [
    [2, 1, 2, 3],
    [3, 3, 2],
  ]),
  two('MatMul', undefined, [[3], [2, 3, 2]]),
  two('MatMul', undefined, [[2, 2, 3], [3]]),
  two('MatMul', undefined, [[3], [3]]),
  ...[0, 1].flatMap((transA) =>
    [0, 1].map(
      (transB): GradientCase => ({
        name: `Gemm ${transA}${transB}`,
        shapes: [transA ? [3, 2] : [2, 3], transB ? [4, 3] : [3, 4], [4]],
        build: op('Gemm', { transA, transB, alpha: 0.7, beta: 1.3 }),
      }),
    ),
  ),
  {
    name: 'Einsum product',
    shapes: [
      [2, 3, 2],
      [2, 2, 4],
    ],
    build: op('Einsum', { equation: 'bij,bjk->bik' }),
  },
  { name: 'Einsum sum', shapes: [[2, 3]], build: op('Einsum', { equation: 'ij->i' }) },
  conv('Conv', [2, 3, 5, 4], [4, 3, 3, 3], { pads: [1, 1, 1, 1] }, 4),
  conv('Conv', [1, 2, 7, 6], [3, 2, 3, 2], { strides: [2, 3], pads: [1, 0, 0, 1] }),
  conv('Conv', [2, 4, 5, 5], [6, 2, 2, 3], { group: 2, dilations: [2, 1] }),
  conv('Conv', [2, 3, 6, 6], [3, 1, 3, 3], { group: 3, strides: [2, 2], pads: [1, 1, 1, 1] }),
  conv('Conv', [1, 2, 5, 5], [2, 2, 3, 3], { auto_pad: 'SAME_UPPER', strides: [2, 2] }),
  conv('Conv', [2, 2, 6], [3, 2, 3], { strides: [2], pads: [0, 1] }),
  conv('Conv', [1, 2, 3, 4, 3], [2, 2, 2, 2, 2], { pads: [1, 0, 0, 0, 1, 1] }),
  conv('ConvTranspose', [2, 3, 3, 3], [3, 2, 3, 3], { strides: [2, 2], pads: [1, 1, 0, 1], output_padding: [1, 0] }, 2),
  conv('ConvTranspose', [1, 4, 3, 3], [4, 2, 2, 2], { group: 2, dilations: [2, 1] }),
  conv('ConvTranspose', [1, 2, 3, 3], [2, 2, 3, 3], { strides: [2, 2], output_shape: [6, 6] }),
  pool('MaxPool', [2, 2, 5, 5], { kernel_shape: [3, 3], strides: [2, 2], pads: [1, 1, 1, 1] }),
  pool('MaxPool', [1, 2, 5, 5], { kernel_shape: [2, 2], strides: [2, 2], ceil_mode: 1 }),
  pool('AveragePool', [1, 2, 5, 5], { kernel_shape: [3, 3], strides: [2, 2], pads: [1, 1, 1, 1] }),
  pool('AveragePool', [1, 2, 5, 5], {
    kernel_shape: [3, 2],
    strides: [2, 2],
    pads: [1, 0, 1, 1],
    count_include_pad: 1,
  }),
  pool('AveragePool', [1, 1, 6, 6], { kernel_shape: [3, 3], strides: [2, 2], ceil_mode: 1 }),
  { ...pool('LpPool', [1, 2, 5, 5], { kernel_shape: [2, 2], strides: [2, 2], p: 3 }), range: [0.2, 1] },
  pool('GlobalAveragePool', [2, 2, 3, 3], {}),
  pool('GlobalMaxPool', [2, 2, 3, 3], {}),
  pool('GlobalLpPool', [2, 2, 3, 3], { p: 2 }),
  { name: 'LayerNormalization', shapes: [[2, 3, 4], [4], [4]], build: op('LayerNormalization', { epsilon: 1e-3 }) },
  {
    name: 'LayerNormalization over two axes, no bias',
    shapes: [
      [2, 3, 4],
      [3, 4],
    ],
    build: op('LayerNormalization', { axis: 1 }),
  },
  {
    name: 'LayerNormalization, its statistics',
    shapes: [[2, 4], [4], [4]],
    build: (b, inputs) =>
      b.emitAll('LayerNormalization', inputs, { epsilon: 1e-2 }, 3).reduce((sum, output) => b.add(sum, output)),
  },
  { name: 'RMSNormalization', shapes: [[2, 3, 4], [4]], build: op('RMSNormalization', { epsilon: 1e-3 }) },
  { name: 'InstanceNormalization', shapes: [[2, 2, 3, 3], [2], [2]], build: op('InstanceNormalization') },
  { name: 'GroupNormalization', shapes: [[2, 4, 3, 2], [4], [4]], build: op('GroupNormalization', { num_groups: 2 }) },
  {
    name: 'BatchNormalization, inference',
    shapes: [[2, 3, 2, 2], [3], [3], [3], [3]],
    build: op('BatchNormalization'),
    range: [0.5, 1.5],
  },
  {
    name: 'BatchNormalization, training',
    shapes: [[3, 2, 2], [2], [2]],
    build: (b, inputs) =>
      b.emitAll(
        'BatchNormalization',
        [...inputs, b.constant(float32Tensor([2], [0, 0])), b.constant(float32Tensor([2], [1, 1]))],
        { training_mode: 1 },
        3,
      )[0],
  },
  { name: 'LRN', shapes: [[2, 5, 2, 2]], build: op('LRN', { size: 3, alpha: 0.5, beta: 0.75, bias: 1 }) },
  one('LpNormalization', { axis: 1, p: 2 }),
  one('LpNormalization', { axis: 0, p: 1 }),
  ...[
    'ReduceSum',
    'ReduceMean',
    'ReduceMax',
    'ReduceMin',
    'ReduceL1',
    'ReduceL2',
    'ReduceSumSquare',
    'ReduceLogSumExp',
  ].flatMap((name) => [
    withInts(name, [2, 3, 4], [[1, -1]], { keepdims: 0 }),
    withInts(name, [2, 3], [undefined], { keepdims: 1 }),
  ]),
  { ...withInts('ReduceLogSum', [2, 3], [[1]]), range: [0.5, 2] },
  withInts('ReduceProd', [2, 3], [[1]]),
  withInts('Reshape', [2, 6], [[3, -1]]),
  one('Flatten', { axis: 0 }),
  withInts('Squeeze', [2, 1, 3], [[1]]),
  withInts('Unsqueeze', [2, 3], [[0, -1]]),
  { name: 'Transpose', shapes: [[2, 3, 4]], build: op('Transpose', { perm: [2, 0, 1] }) },
  withInts('Expand', [3, 1], [[2, 3, 4]]),
  withInts('Tile', [2, 3], [[2, 3]]),
  {
    name: 'Concat',
    shapes: [
      [2, 3],
      [2, 1],
      [2, 2],
    ],
    build: op('Concat', { axis: -1 }),
  },
  {
    name: 'Split',
    shapes: [[2, 7]],
    build: (b, [x]) => {
      const [p, , q] = b.emitAll('Split', [x, b.ints([2, 3, 2])], { axis: 1 }, 3)
      return b.mul(p, q)
    },
  },
  withInts('Slice', [3, 8], [[1], [-1], [1]]),
  withInts('Slice', [3, 8], [[1], [7], [1], [3]]),
  withInts(
    'Slice',
    [3, 8],
    [
      [-1, 2],
      [-9, 0],
      [1, 0],
      [-2, -1],
    ],
  ),
  withInts('Pad', [2, 3], [[1, 0, 0, 2]]),
  withInts('Pad', [3, 4], [[-1, 1, 0, -2]]),
  ...['reflect', 'edge', 'wrap'].map((mode) => withInts('Pad', [3, 4], [[1, 2, 2, 1]], { mode })),
  { name: 'DepthToSpace', shapes: [[1, 8, 2, 3]], build: op('DepthToSpace', { blocksize: 2 }) },
  { name: 'DepthToSpace CRD', shapes: [[1, 8, 2, 3]], build: op('DepthToSpace', { blocksize: 2, mode: 'CRD' }) },
  { name: 'SpaceToDepth', shapes: [[1, 2, 4, 6]], build: op('SpaceToDepth', { blocksize: 2 }) },
  { name: 'Trilu', shapes: [[3, 3]], build: op('Trilu', { upper: 0 }) },
  indexed('Gather', [4, 3], [1], [], { axis: 0 }),
  indexed('Gather', [4, 3], [1, 2, 3], [3], { axis: 0 }),
  indexed('Gather', [4, 3], [2, 0, 2, -1], [2, 2], { axis: 1 }),
  indexed('GatherElements', [3, 3], [0, 2, 2, 1, 0, 1], [2, 3], { axis: 0 }),
  indexed('GatherND', [3, 4], [0, 1, 2, 3, 0, 1], [3, 2]),
  {
    name: 'ScatterElements',
    shapes: [
      [3, 3],
      [1, 3],
    ],
    build: (b, [x, u]) => b.emit('ScatterElements', [x, b.constant(int64Tensor([2, 0, 1], [1, 3])), u], { axis: 0 }),
  },
  {
    name: 'ScatterElements add',
    shapes: [
      [3, 3],
      [2, 3],
    ],
    build: (b, [x, u]) =>
      b.emit('ScatterElements', [x, b.constant(int64Tensor([2, 0, 1, 2, 1, 1], [2, 3])), u], {
        axis: 0,
        reduction: 'add',
      }),
  },
  {
    name: 'ScatterND',
    shapes: [
      [4, 2],
      [2, 2],
    ],
    build: (b, [x, u]) => b.emit('ScatterND', [x, b.constant(int64Tensor([3, 1], [2, 1])), u]),
  },
  { name: 'TopK', shapes: [[3, 5]], build: (b, [x]) => b.emitAll('TopK', [x, b.ints([2])], { axis: 1 }, 2)[0] },
  {
    name: 'CumSum',
    shapes: [[2, 4]],
    build: (b, [x]) => b.emit('CumSum', [x, b.constant(int64Tensor([1], []))], { exclusive: 1 }),
  },
  ...(['linear', 'cubic', 'nearest'] as const).map(
    (mode): GradientCase => ({
      name: `Resize ${mode}`,
      shapes: [[1, 2, 3, 4]],
      build: op('Resize', { mode }, (b) => [undefined, undefined, b.ints([1, 2, 5, 7])]),
    }),
  ),
  {
    name: 'Resize down, antialiased',
    shapes: [[1, 1, 6, 6]],
    build: op('Resize', { mode: 'linear', antialias: 1 }, (b) => [undefined, undefined, b.ints([1, 1, 3, 4])]),
  },
  { name: 'Dropout', shapes: [[2, 3]], build: op('Dropout') },
]

/** Operators whose second derivative the check covers as well (GradAlign differentiates twice). */
const TWICE =
  /^(Mul|Div|Pow|Exp|Log|Sqrt|Tanh|Sigmoid|Softplus|Gelu|Softmax|LogSoftmax|MatMul|Gemm|Conv|MaxPool|AveragePool|LayerNormalization|RMSNormalization|InstanceNormalization|GroupNormalization|BatchNormalization|ReduceL2|ReduceLogSumExp|Gather|Slice|Concat|Transpose|Resize|LRN)/

describe('the gradient of every operator agrees with central differences in float64', () => {
  it.each(cases.map((entry) => [entry.name, entry] as const))('%s', (_name, entry) => {
    for (const seed of [1, 2]) expect(gradientError(entry, 1, seed)).toBeLessThan(1e-6)
  })
})

describe('so does the gradient of the gradient', () => {
  it.each(cases.filter(({ name }) => TWICE.test(name)).map((entry) => [entry.name, entry] as const))(
    '%s',
    (_name, entry) => {
      expect(gradientError(entry, 2)).toBeLessThan(1e-5)
    },
  )
})

it('covers every operator that has a rule and a gradient', () => {
  const tested = new Set(cases.map(({ name }) => name.split(/[ ,]/)[0]))
  const without = [
    'Cast',
    'CastLike',
    'Floor',
    'Ceil',
    'Round',
    'Sign',
    'Equal',
    'Greater',
    'GreaterOrEqual',
    'Less',
    'LessOrEqual',
    'And',
    'Or',
    'Xor',
    'Not',
    'IsNaN',
    'IsInf',
    'ArgMax',
    'ArgMin',
    'Hardmax',
    'Shape',
    'Size',
    'ConstantOfShape',
    'Range',
    'EyeLike',
    'OneHot',
  ]
  expect(Object.keys(rules).filter((name) => !tested.has(name) && !without.includes(name))).toEqual([])
})
