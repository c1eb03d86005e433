// Attacks the demo ViT (or the model named: vit, swin, resnet) through the command line, and says where the report is.
import { spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'

const here = (path) => fileURLToPath(new URL(path, import.meta.url))
const model = process.argv[2] ?? 'vit'
const args = [
  'evaluate',
  here(`${model}.onnx`),
  '--data',
  here('images.zip'),
  '--mean',
  '0.5,0.5,0.5',
  '--std',
  '0.25,0.25,0.25',
  '--attacks',
  'fgsm,pgd-20,mi-fgsm-10',
  '--eps',
  '2/255,4/255,8/255',
  '--limit',
  '200',
  '--out',
  'demo-run',
]
process.stderr.write(`$ signstep ${args.join(' ')}\n\n`)
const { status } = spawnSync(process.execPath, [here('../../dist/cli/main.js'), ...args], { stdio: 'inherit' })
process.exitCode = status ?? 1
