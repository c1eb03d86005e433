import { cpSync, symlinkSync } from 'node:fs'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { beforeAll, expect, it } from 'vitest'
import { writeNpz } from '#signstep/data/index.js'
import * as here from '#signstep/index.js'
import { loadNative } from '#signstep/native/index.js'
import { float32Tensor, int64Tensor } from '#signstep/tensor/index.js'
import { cli, root, scratch } from '../support/cli.js'
import { linearModel } from '../support/linear-model.js'

const options = { device: 'sim', batch: 1 } as const
const SHAPE = [3, 4, 4] as const
const images = Float32Array.from({ length: 48 }, (_, i) => ((i * 37) % 101) / 101)

let model: string
beforeAll(async () => {
  model = await linearModel(
    SHAPE,
    Array.from({ length: 48 }, (_, i) => [i % 5, i % 7, -(i % 3)]),
  )
})

/** The package once more. Of one version both use the libraries that came first; other versions have other names. */
function copyOfThePackage(): string {
  const folder = scratch()
  for (const part of ['dist', 'package.json']) cpSync(join(root, part), join(folder, part), { recursive: true })
  for (const part of ['build', 'node_modules']) symlinkSync(join(root, part), join(folder, part))
  return folder
}

it('two copies of the package in one process attack side by side', async () => {
  const there = (await import(pathToFileURL(join(copyOfThePackage(), 'dist/index.js')).href)) as typeof here
  const models = [await here.loadModel(model, options), await there.loadModel(model, options)]
  const attack = { eps: '4/255', steps: 1 } as const
  const [a, b] = await Promise.all([
    here.pgd(models[0], images, Int32Array.of(1), attack),
    there.pgd(models[1] as never, images, Int32Array.of(1), attack),
  ])
  expect(b.images).toEqual(a.images)
  await models[0].dispose()
  await models[1].logits(images)
  await models[1].dispose()
  expect((await loadNative().openEngine('sim')).allocatedBytes()).toBe(0)
})

it('two processes share a device', async () => {
  const data = join(scratch(), 'x.npz')
  await writeNpz(data, { images: float32Tensor([2, ...SHAPE], [...images, ...images]), labels: int64Tensor([0, 1]) })
  const args = [
    'evaluate',
    model,
    '--data',
    data,
    '--attacks',
    'pgd-5',
    '--eps',
    '4/255',
    '--device',
    'sim',
    '--json',
    '--quiet',
  ]
  const [a, b] = (await Promise.all([cli(args), cli(args)])).map(({ stdout }) => JSON.parse(stdout).attacks[0].meanLoss)
  expect(b).toBe(a)
})
