// Writes what bench/gpu/run carries to a machine without Node: `node bench/gpu/plans.js [folder with goldens]` → bench/gpu/plans/
//
//   <model>.plan.gz          kernel programs of the vision transformers that are timed. Their weights are constants (a whole matrix holds
//                            one number, the deviation), which the bench replaces by random numbers: 1 MB for what would be 400
//   golden/<name>.plan.gz    small models with their real weights, and <name>.npz beside them: logits and gradients from PyTorch in float64
//
// The goldens are read from ../shared/models/golden where that folder is.
import { copyFileSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { gzipSync } from 'node:zlib'
import { forwardGraph } from '../../dist/autodiff/index.js'
import { compileProgram, writePlan } from '../../dist/backend/engine/index.js'
import { canonicalise, Graph, GraphBuilder, importModel, N } from '../../dist/graph/index.js'
import { presets } from '../../dist/model/preprocess.js'
import { readModel } from '../../dist/onnx/index.js'
import { float32Tensor } from '../../dist/tensor/index.js'

const root = fileURLToPath(new URL('../..', import.meta.url))
const folder = join(root, 'bench/gpu/plans')
const goldens = process.argv[2] ?? join(root, '../shared/models/golden')

const MODELS = {
  deit_tiny_patch16_224: { side: 224, patch: 16, width: 192, depth: 12, heads: 3, classes: 1000 },
  vit_small_patch16_224: { side: 224, patch: 16, width: 384, depth: 12, heads: 6, classes: 1000 },
  vit_base_patch16_224: { side: 224, patch: 16, width: 768, depth: 12, heads: 12, classes: 1000 },
  // For bench/gpu/run --sim: everything of the others, small enough for the simulator.
  vit_sim: { side: 32, patch: 8, width: 64, depth: 2, heads: 2, classes: 10 },
}
const GOLDENS = ['timm_vit__ts17_bN', 'timm_deit3__ts17_bN', 'hf_vit__dy18_bN_ext']

/** Images [N,3,side,side] → logits [N,classes]: the vision transformer of timm, pre-norm, class token, GELU (erf). */
function visionTransformer(b, { side, patch, width, depth, heads, classes }) {
  const tokens = (side / patch) ** 2 + 1
  const hidden = 4 * width
  const constant = (shape, value, name) =>
    b.constant(
      float32Tensor(shape, new Float32Array(shape.reduce((product, size) => product * size, 1)).fill(value)),
      name,
    )
  const linear = (x, name, inner, outer) =>
    b.add(b.matMul(x, constant([inner, outer], inner ** -0.5, `${name}.weight`)), constant([outer], 0, `${name}.bias`))
  const norm = (x, name) =>
    b.emit('LayerNormalization', [x, constant([width], 1, `${name}.weight`), constant([width], 0, `${name}.bias`)], {
      epsilon: 1e-6,
    })

  const images = b.input('images', 'float32', [N, 3, side, side])
  const kernel = constant([width, 3, patch, patch], (3 * patch * patch) ** -0.5, 'patch_embed.weight')
  const patches = b.emit('Conv', [images, kernel, constant([width], 0, 'patch_embed.bias')], {
    strides: [patch, patch],
  })
  const sequence = b.transpose(b.reshape(patches, [N, width, tokens - 1]), [0, 2, 1])
  const token = b.expand(constant([1, 1, width], 0.02, 'cls_token'), [N, 1, width])
  let x = b.add(b.concat([token, sequence], 1), constant([1, tokens, width], 0.02, 'pos_embed'))
  for (let i = 0; i < depth; i++) {
    x = b.within(`blocks.${i}`, () => {
      const joined = b.reshape(linear(norm(x, 'norm1'), 'qkv', width, 3 * width), [N, tokens, 3, heads, width / heads])
      const [q, k, v] = b
        .emitAll('Split', [b.transpose(joined, [2, 0, 3, 1, 4]), b.ints([1, 1, 1])], { axis: 0 }, 3)
        .map((part) => b.squeeze(part, [0]))
      const scores = b.mul(b.matMul(q, b.matrixTranspose(k)), (width / heads) ** -0.5)
      const mixed = b.matMul(b.emit('Softmax', [scores], { axis: -1 }), v)
      const attended = linear(b.reshape(b.transpose(mixed, [0, 2, 1, 3]), [N, tokens, width]), 'proj', width, width)
      const middle = b.add(x, attended)
      const activated = b.emit('Gelu', [linear(norm(middle, 'norm2'), 'fc1', width, hidden)])
      return b.add(middle, linear(activated, 'fc2', hidden, width))
    })
  }
  const first = b.reshape(b.emit('Gather', [norm(x, 'norm'), b.ints([0])], { axis: 1 }), [N, width])
  return linear(first, 'head', width, classes)
}

function writeCompressed(path, graph, preprocess, note) {
  const program = compileProgram(forwardGraph(canonicalise(graph, { keepParameters: false }), preprocess), {
    loss: 'cross-entropy',
    targeted: false,
  })
  const plan = writePlan(program, note)
  const compressed = gzipSync(plan, { level: 9 })
  writeFileSync(`${path}.plan.gz`, compressed)
  console.log(
    `${path.slice(root.length)}.plan.gz: ${(compressed.length / 1e3).toFixed(0)} kB for ${(plan.length / 1e6).toFixed(0)} MB, ${program.gradient.length} steps`,
  )
}

rmSync(folder, { recursive: true, force: true })
mkdirSync(join(folder, 'golden'), { recursive: true })
for (const [name, shape] of Object.entries(MODELS)) {
  const b = new GraphBuilder(new Graph(name))
  b.graph.outputs.push(visionTransformer(b, shape))
  writeCompressed(join(folder, name), b.graph, presets.imagenet, `${name}, weights to be made from a seed`)
}
if (!existsSync(join(goldens, 'manifest.json'))) console.log(`no goldens in ${goldens}: left out`)
else {
  const manifest = JSON.parse(readFileSync(join(goldens, 'manifest.json'), 'utf8'))
  for (const name of GOLDENS) {
    const file = join(goldens, `${name}.onnx`)
    const { mean, std } = manifest.find((entry) => entry.name === name)
    const graph = importModel(await readModel(file), { file }).graph
    writeCompressed(join(folder, 'golden', name), graph, { ...presets.imagenet, mean, std }, name)
    copyFileSync(join(goldens, `${name}.npz`), join(folder, 'golden', `${name}.npz`))
  }
}
