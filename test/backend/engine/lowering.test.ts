import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { forwardGraph, jointGraph, type Preprocess } from '#signstep/autodiff/index.js'
import { compileProgram } from '#signstep/backend/engine/compile-plan.js'
import { epilogues, type KernelProgram } from '#signstep/backend/engine/program.js'
import { canonicalise, type Graph, importModel, interpret } from '#signstep/graph/index.js'
import { presets } from '#signstep/model/preprocess.js'
import { readModel } from '#signstep/onnx/index.js'
import { randomArray, randomNumbers } from '../../support/random.js'
import { ProgramRun } from './run-program.js'

const root = join(import.meta.dirname, '../../..')
const shared = join(root, '../shared/models')

async function canonicalGraph(file: string): Promise<Graph> {
  return canonicalise(importModel(await readModel(file), { file }).graph, { keepParameters: false })
}

function relativeError(found: ArrayLike<number>, expected: ArrayLike<number>): number {
  let [error, norm] = [0, 0]
  for (let i = 0; i < expected.length; i++) {
    error += (found[i] - expected[i]) ** 2
    norm += expected[i] ** 2
  }
  return Math.sqrt(error / norm)
}

/** Steps of a model's program against the joint graph in the float64 interpreter, at a batch of 2. */
async function compare(
  file: string,
  preprocess: Preprocess,
  foldNorms = true,
): Promise<{ logits: number; gradient: number; forward: number }> {
  const model = await canonicalGraph(file)
  const forward = forwardGraph(model, preprocess)
  const program = compileProgram(forward, { loss: 'cross-entropy', targeted: false, foldNorms })
  const joint = jointGraph(model, { preprocess, loss: 'cross-entropy', targeted: false })
  const images = randomArray(randomNumbers(5), [2, ...program.image], 0, 1)
  const labels = [1, program.classes - 1]
  const results = interpret(
    joint,
    new Map([
      ['images', images],
      ['labels', { dtype: 'int64' as const, shape: [2], data: Float64Array.from(labels) }],
    ]),
  )
  const [logits, , inputGradient] = results.map(({ data }) => data)
  const pass = new ProgramRun(program, 2, labels)
  const gradient = pass.run(program.gradient, images.data as Float64Array, program.imageGradient)
  const found = {
    logits: relativeError(pass.run([], images.data as Float64Array, program.logits), logits),
    gradient: relativeError(pass.toPlanes(gradient), inputGradient),
  }
  const other = new ProgramRun(program, 2, labels).run(program.forward, images.data as Float64Array, program.logits)
  return { ...found, forward: relativeError(other, logits) }
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

describe('the kernel program of a model', () => {
  for (const [name, file, preset] of transformers)
    it.skipIf(!existsSync(file))(`computes logits and image gradient of ${name} as the graph does`, async () => {
      const { logits, gradient, forward } = await compare(file, presets[preset])
      // Folded weights are rounded to float32 once more.
      expect(logits).toBeLessThan(1e-6)
      expect(forward).toBeLessThan(1e-6)
      expect(gradient).toBeLessThan(1e-5)
    })

  it.skipIf(!existsSync(transformers[9][1]))(
    'computes the same with every LayerNorm in a kernel of its own',
    async () => {
      for (const [, file, preset] of [transformers[0], transformers[9]]) {
        const { logits, gradient } = await compare(file, presets[preset], false)
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

  it.each([['resnet.onnx', 'Conv']])(
    'is refused for %s, naming the first node that no kernel covers and what runs it',
    async (file, op) => {
      const forward = forwardGraph(await canonicalGraph(join(root, 'examples/demo', file)), presets.none)
      expect(() => compileProgram(forward, { loss: 'cross-entropy', targeted: false })).toThrow(
        expect.objectContaining({
          code: 'OPERATOR_UNSUPPORTED',
          message: expect.stringMatching(new RegExp(`${op}.*--device cpu`)),
        }),
      )
    },
  )
})
