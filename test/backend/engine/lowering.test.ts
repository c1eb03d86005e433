import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { forwardGraph } from '#signstep/autodiff/index.js'
import { compileProgram } from '#signstep/backend/engine/compile-plan.js'
import { epilogues, type KernelProgram } from '#signstep/backend/engine/program.js'
import { printProgram } from '#signstep/backend/index.js'
import { canonicalise, type Graph, type GraphBuilder, importModel, N, type Value } from '#signstep/graph/index.js'
import { presets } from '#signstep/model/preprocess.js'
import { readModel } from '#signstep/onnx/index.js'
import { float32Tensor } from '#signstep/tensor/index.js'
import { classAttention, classAttentionShape } from '../../support/class-attention.js'
import { modelFile } from '../../support/linear-model.js'
import { randomNumbers } from '../../support/random.js'
import { compareProgram } from './compare-program.js'
import { classifier, weights } from './small-classifier.js'

const root = join(import.meta.dirname, '../../..')
const shared = join(root, '../shared/models')

async function canonicalGraph(file: string): Promise<Graph> {
  return canonicalise(importModel(await readModel(file), { file }).graph, { keepParameters: false })
}

const transformers: [string, string, string][] = [
  ['the demo ViT', join(root, 'examples/demo/vit.onnx'), 'cifar10'],
  ['the demo Swin', join(root, 'examples/demo/swin.onnx'), 'cifar10'],
  ['a torchvision ViT of opset 13', join(shared, 'exports/tv_vit_d48_l2_p4_32_op13_dyn.onnx'), 'imagenet'],
  ['a torchvision ViT with a fixed batch', join(shared, 'exports/tv_vit_d48_l2_p4_32_op13_static.onnx'), 'none'],
  ['a torchvision Swin', join(shared, 'exports/tv_swin_e24_d22_w4_32_op17_dyn.onnx'), 'half'],
  ['a ViT of Hugging Face', join(shared, 'golden/hf_vit__dy18_bN_ext.onnx'), 'half'],
  ['a DeiT-III of timm', join(shared, 'golden/timm_deit3__ts17_bN.onnx'), 'imagenet'],
  ['a ViT of timm', join(shared, 'golden/timm_vit__ts17_bN.onnx'), 'half'],
  ['a Swin of timm', join(shared, 'golden/timm_swin__ts17_bN.onnx'), 'imagenet'],
  ['a Swin V2 of timm', join(shared, 'golden/timm_swinv2__ts17_bN.onnx'), 'imagenet'],
  ['a ViT with batch normalisation', join(shared, 'trained/vit-cifar10-pgd.onnx'), 'cifar10'],
]

const convolutional: [string, string, string][] = [
  ['the demo ResNet', join(root, 'examples/demo/resnet.onnx'), 'cifar10'],
  [
    'a ResNet-18 of timm with its batch normalisation',
    join(shared, 'golden/timm_resnet18__ts17_bN_keepbn.onnx'),
    'imagenet',
  ],
  ['a ResNet-20', join(shared, 'trained/resnet20-cifar10.onnx'), 'none'],
  ['a ResNet without batch normalisation', join(shared, 'trained/resnet2b-cifar10-adv.onnx'), 'cifar10'],
  ['a plain CNN', join(shared, 'trained/cnn-base-cifar10-kw.onnx'), 'cifar10'],
]

describe('the kernel program of a model', () => {
  for (const [name, file, preset] of [...transformers, ...convolutional])
    it.skipIf(!existsSync(file))(`computes logits and image gradient of ${name} as the graph does`, async () => {
      const { logits, gradient, forward } = compareProgram(await canonicalGraph(file), presets[preset])
      // Folded weights are rounded to float32 once more.
      expect(logits).toBeLessThan(1e-6)
      expect(forward).toBeLessThan(1e-6)
      expect(gradient).toBeLessThan(1e-5)
    })

  it.skipIf(!existsSync(transformers[9][1]))(
    'computes the same with every LayerNorm in a kernel of its own',
    async () => {
      for (const [, file, preset] of [transformers[0], transformers[9]]) {
        const { logits, gradient } = compareProgram(await canonicalGraph(file), presets[preset], false)
        expect(logits).toBeLessThan(1e-6)
        expect(gradient).toBeLessThan(1e-5)
      }
    },
  )

  it('is made of fused launches for a ViT: attention, products with their epilogues, and no copy in the middle blocks', async () => {
    const compiled = async (foldNorms: boolean) =>
      compileProgram(forwardGraph(await canonicalGraph(transformers[0][1]), presets.cifar10), {
        loss: 'cross-entropy',
        targeted: false,
        foldNorms,
      })
    const program = await compiled(true)
    expect(program.layout).toBe('patches')
    expect(program.patch).toBe(4)
    const middle = (from: number, count: number, { forward }: KernelProgram) =>
      forward.slice(from, from + count).map(({ op }) => op)
    expect(middle(2, 16, program)).toEqual([
      'row_statistics',
      ...Array(3).fill(['gemm', 'attention', 'gemm', 'gemm', 'gemm']).flat(),
    ])
    expect(middle(2, 18, await compiled(false))).toEqual(
      Array(3).fill(['layer_norm', 'gemm', 'attention', 'gemm', 'layer_norm', 'gemm', 'gemm']).flat().slice(0, 18),
    )
    // Behind every MLP the gradient of its LayerNorm is the end of a product; behind attention a kernel that starts from x.
    const ends = program.gradient.filter(({ op, ints }) => op === 'gemm' && ints[3] === epilogues.norm_backward)
    const kernels = program.gradient.filter(({ op }) => op === 'layer_norm_backward')
    expect(ends).toHaveLength(4)
    expect(kernels.filter(({ buffers }) => buffers[5] !== undefined)).toHaveLength(4)
    expect(program.gradient.at(-1)?.op).toBe('gemm')
    expect(program.gradient.at(-1)?.buffers[2]).toBe(program.imageGradient)
  })

  it('is one attention where a single query looks at all tokens, and computes what the graph does', async () => {
    const file = await modelFile(classAttentionShape, classAttention)
    const { forward, gradient, program } = compareProgram(await canonicalGraph(file), presets.half)
    expect(forward).toBeLessThan(1e-6)
    expect(gradient).toBeLessThan(1e-5)
    const found = program.gradient.filter(({ op }) => /attention|batched_matmul|softmax/.test(op))
    expect(found.map(({ op }) => op)).toEqual(['attention', 'attention_backward'])
    expect(printProgram(program)).toContain('attention N×3×10×8, 1 queries')
  })

  it.each([
    ['the first half of a product', 'first'],
    ['the second half of a product', 'second'],
    ['a product of its own', 'own'],
  ])('has a gated linear layer in the epilogues of its products, the gate being %s', async (_name, gate) => {
    const next = randomNumbers(12)
    const [TOKENS, WIDTH, HIDDEN] = [12, 16, 24]
    const file = await modelFile([3, 8, 8], (b, images) => {
      const own = (...shape: number[]): Value =>
        b.parameter(
          float32Tensor(
            shape,
            Float32Array.from({ length: shape.reduce((a, c) => a * c, 1) }, () => next() - 0.5),
          ),
          `w${next()}`,
        )
      const linear = (x: Value, outputs: number): Value => b.add(b.matMul(x, own(WIDTH, outputs)), own(outputs))
      const tokens = b.matMul(b.reshape(images, [N, TOKENS, WIDTH]), own(WIDTH, WIDTH))
      const normal = b.emit('LayerNormalization', [tokens, own(WIDTH), own(WIDTH)], { axis: -1 })
      const [left, right] =
        gate === 'own'
          ? [linear(normal, HIDDEN), linear(normal, HIDDEN)]
          : b.emitAll('Split', [linear(normal, 2 * HIDDEN), b.ints([HIDDEN, HIDDEN])], { axis: -1 }, 2)
      const [a, c] = gate === 'second' ? [right, left] : [left, right]
      const gated = b.mul(b.mul(a, b.emit('Sigmoid', [a])), c)
      const rows = b.add(tokens, b.matMul(gated, own(HIDDEN, WIDTH)))
      return b.matMul(b.reshape(rows, [N, TOKENS * WIDTH]), own(TOKENS * WIDTH, 5))
    })
    const { logits, gradient, program } = compareProgram(await canonicalGraph(file), presets.none)
    expect(logits).toBeLessThan(1e-6)
    expect(gradient).toBeLessThan(1e-5)
    const ends = program.gradient.filter(({ op }) => op === 'gemm').map(({ ints }) => ints[3])
    for (const kind of ['swiglu', 'swiglu_backward', 'norm_backward'] as const) expect(ends).toContain(epilogues[kind])
    const others = program.gradient.filter(({ op }) => op === 'elementwise' || op.startsWith('layer_norm'))
    expect(others.map(({ name }) => name)).toEqual(['input_gradient'])
  })

  it('is made of convolutions and products alone between the ends of a ResNet: activations, residuals and their masks are in them', async () => {
    const program = compileProgram(forwardGraph(await canonicalGraph(convolutional[0][1]), presets.cifar10), {
      loss: 'cross-entropy',
      targeted: false,
    })
    expect([program.layout, program.patch]).toEqual(['patches', 1])
    const ops = program.gradient.map(({ op }) => op)
    expect(ops.slice(1, ops.indexOf('reduce')).every((op) => op === 'convolution' || op === 'gemm')).toBe(true)
    const back = ops.slice(ops.indexOf('loss') + 1)
    expect(back.filter((op) => op === 'copy' || op === 'fill')).toEqual([])
    // The mean over all pixels has no product whose epilogue could take the last mask in.
    expect(back.filter((op) => op === 'elementwise')).toHaveLength(1)
    expect(program.gradient.at(-1)).toMatchObject({ op: 'convolution' })
    expect(program.gradient.at(-1)?.buffers[2]).toBe(program.imageGradient)
  })

  it.each([
    ['a grouped Conv', (b: GraphBuilder, x: Value) => b.emit('Conv', [x, weights(b, [3, 1, 3, 3])], { group: 3 })],
    [
      'MaxPool over 1 axes',
      (b: GraphBuilder, x: Value) =>
        b.unsqueeze(b.emit('MaxPool', [b.reshape(x, [N, 3, 72])], { kernel_shape: [2] }), [3]),
    ],
  ])('is refused for %s, by name and with what runs it', (found, build) => {
    expect(() => compileProgram(classifier(build), { loss: 'cross-entropy', targeted: false })).toThrow(
      expect.objectContaining({
        code: 'OPERATOR_UNSUPPORTED',
        message: expect.stringMatching(new RegExp(`${found}.*--device cpu`, 's')),
      }),
    )
  })
})
