import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { beforeAll, describe, expect, it } from 'vitest'
import { compile, gradient, loadModel } from '#signstep/index.js'
import { type OnnxModel, readModel, writeModel } from '#signstep/onnx/index.js'
import { demo, scratch } from '../support/cli.js'

/** The demo ViT with its batch fixed at 2, and something done to its file. */
async function fixedAtTwo(edit: (model: OnnxModel) => OnnxModel = (model) => model): Promise<string> {
  const { graph, ...rest } = await readModel(demo('vit.onnx'))
  const fixed = { ...rest, graph: { ...graph, inputs: [{ ...graph.inputs[0], shape: [2, 3, 32, 32] }] } }
  const path = join(scratch(), 'fixed.onnx')
  await writeModel(path, edit(fixed))
  return path
}

/** A softmax over the samples: no shape tells that it mixes them. */
const mixing = ({ graph, ...rest }: OnnxModel): OnnxModel => ({
  ...rest,
  graph: {
    ...graph,
    outputs: [{ ...graph.outputs[0], name: 'mixed' }],
    nodes: [
      ...graph.nodes,
      {
        name: 'mixing',
        op: 'Softmax',
        domain: '',
        inputs: [graph.outputs[0].name],
        outputs: ['mixed'],
        attributes: { axis: 0 },
      },
    ],
  },
})

describe('a fixed batch that was made free is compared with the file as it is', () => {
  const out = join(scratch(), 'out')
  let sound: string
  let mixed: string
  beforeAll(async () => {
    sound = await fixedAtTwo()
    mixed = await fixedAtTwo(mixing)
  })
  const uses: [string, (path: string) => Promise<{ notes: readonly string[] }>][] = [
    ['gradient', (path) => gradient(path, out)],
    ['compile', (path) => compile(path, out)],
    [
      'loadModel',
      async (path) => {
        await using model = await loadModel(path)
        return { notes: model.notes }
      },
    ],
  ]

  it.each(uses)('before %s goes on', async (_name, use) => {
    await expect(use(mixed)).rejects.toMatchObject({
      code: 'MODEL_UNSUPPORTED',
      message: expect.stringMatching(/batch of 2 could not be made free.*dynamic batch axis/),
    })
    expect(existsSync(out)).toBe(false)
  })

  it.each(uses)('and %s says that it was', async (_name, use) =>
    expect((await use(sound)).notes.join()).toContain('fixes its batch at 2'),
  )
})
