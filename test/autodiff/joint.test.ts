import { describe, expect, it } from 'vitest'
import { forwardGraph, type JointOptions, jointGraph, noPreprocess, type Preprocess } from '#signstep/autodiff/index.js'
import { Graph, GraphBuilder, interpret, N, showShape, type Value } from '#signstep/graph/index.js'
import type { NdArray } from '#signstep/interpreter/index.js'
import { numbersOf } from '#signstep/tensor/index.js'
import { randomArray, randomNumbers } from '../support/random.js'
import { parameterWeights, tinyResidual, tinyTransformer } from './networks.js'

const options: JointOptions = { preprocess: noPreprocess, loss: 'cross-entropy', targeted: false }

function modelOf(network: typeof tinyTransformer): Graph {
  const b = new GraphBuilder(new Graph('model'))
  const images = b.input('x', 'float32', [N, 1, 4, 4])
  b.graph.outputs.push(network(b, images, parameterWeights(b)))
  return b.graph
}

function feedsFor(count: number, channels = 1): Map<string, NdArray> {
  const random = randomNumbers(11)
  return new Map<string, NdArray>([
    ['images', randomArray(random, [count, channels, 4, 4], 0, 1)],
    ['labels', { dtype: 'int64', shape: [count], data: Float64Array.from({ length: count }, (_, i) => i % 3) }],
  ])
}

/** The graph's outputs by name. */
function outputsOf(graph: Graph, feeds: Map<string, NdArray>): Record<string, NdArray> {
  const results = interpret(graph, feeds)
  return Object.fromEntries(graph.outputs.map(({ name }, i) => [name, results[i]]))
}

const sum = (values: Iterable<number>): number => [...values].reduce((a, v) => a + v, 0)

describe.each([
  ['a transformer', tinyTransformer],
  ['a residual network', tinyResidual],
])('the joint graph of %s', (_name, network) => {
  const joint = jointGraph(modelOf(network), { ...options, parameters: true })

  it('takes images and labels and gives logits, losses and gradients, for any batch', () => {
    expect(joint.inputs.map(({ name, shape }) => `${name}${showShape(shape)}`)).toEqual([
      'images[N,1,4,4]',
      'labels[N]',
    ])
    const [logits, loss, gradient, ...rest] = joint.outputs.map(({ name, shape }) => `${name}${showShape(shape)}`)
    expect([logits, loss, gradient]).toEqual(['logits[N,3]', 'loss[N]', 'input_gradient[N,1,4,4]'])
    expect(rest.every((name) => name.startsWith('grad:'))).toBe(true)
  })

  it('gives each image the gradient of its own loss, whatever else is in the batch', () => {
    const feeds = feedsFor(3)
    const { loss, input_gradient: gradient } = outputsOf(joint, feeds)
    const images = feeds.get('images') as NdArray
    for (const at of [0, 5, 17, 30, 47]) {
      const before = images.data[at]
      const lossAt = (value: number): Float64Array => {
        images.data[at] = value
        const found = outputsOf(joint, feeds).loss.data
        images.data[at] = before
        return found
      }
      const [above, below] = [lossAt(before + 1e-5), lossAt(before - 1e-5)]
      const sample = Math.floor(at / 16)
      expect(gradient.data[at]).toBeCloseTo((above[sample] - below[sample]) / 2e-5, 6)
      for (const i of loss.data.keys()) if (i !== sample) expect(above[i]).toBe(loss.data[i])
    }
  })

  it('gives the parameters the gradient of the mean loss', () => {
    const feeds = feedsFor(3)
    const found = outputsOf(joint, feeds)
    const parameters = new Set(joint.nodes.flatMap(({ inputs }) => inputs.filter((value) => value?.parameter)))
    expect(joint.outputs.length).toBe(3 + parameters.size)
    for (const parameter of parameters as Set<Value>) {
      const original = parameter.constant
      if (original === undefined) throw new Error('a parameter without content')
      // In float64, so that the small step is not rounded away.
      const data = numbersOf(original)
      parameter.constant = { dtype: 'float64', shape: original.shape, data }
      const at = Math.floor(data.length / 2)
      const before = data[at]
      const meanAt = (value: number): number => {
        data[at] = value
        return sum(outputsOf(joint, feeds).loss.data) / 3
      }
      const difference = (meanAt(before + 1e-5) - meanAt(before - 1e-5)) / 2e-5
      parameter.constant = original
      const gradient = found[`grad:${parameter.name}`]
      expect(gradient.shape).toEqual(parameter.shape)
      expect(gradient.data[at]).toBeCloseTo(difference, 6)
    }
  })

  it('forms no weight gradient when only the image is asked for', () => {
    const products = (graph: Graph): number =>
      graph.nodes.filter(({ op }) => /^(Conv|ConvTranspose|MatMul|Gemm)$/.test(op)).length
    const model = modelOf(network)
    const plain = jointGraph(model, options)
    // One product forward and one back for each weight; attention's two products have two operands each to go back to.
    const operands = network === tinyTransformer ? 2 : 0
    expect(products(plain)).toBe(2 * products(model) + operands)
    expect(plain.outputs.map(({ name }) => name)).toEqual(['logits', 'loss', 'input_gradient'])
  })
})

it('selects parameters by name, and leaves the input gradient out on request', () => {
  const joint = jointGraph(modelOf(tinyResidual), { ...options, parameters: /^head\./, inputGradient: false })
  expect(joint.outputs.map(({ name }) => name)).toEqual(['logits', 'loss', 'grad:head.weight', 'grad:head.bias'])
})

it('has the gradient towards the target for a targeted loss', () => {
  const feeds = feedsFor(2)
  feeds.set('targets', { dtype: 'int64', shape: [2], data: Float64Array.of(2, 0) })
  const targeted = jointGraph(modelOf(tinyResidual), { ...options, targeted: true })
  expect(targeted.inputs.map(({ name }) => name)).toEqual(['images', 'labels', 'targets'])
  const found = outputsOf(targeted, feeds)
  feeds.set('labels', feeds.get('targets') as NdArray)
  const direct = outputsOf(jointGraph(modelOf(tinyResidual), options), feeds)
  expect(found.loss.data).toEqual(direct.loss.data)
  expect(found.input_gradient.data).toEqual(direct.input_gradient.data)
})

it('compares with reference logits for KL, which knows no label and no target', () => {
  const joint = jointGraph(modelOf(tinyTransformer), { ...options, loss: 'kl' })
  expect(joint.inputs.map(({ name, shape }) => `${name}${showShape(shape)}`)).toEqual([
    'images[N,1,4,4]',
    'reference_logits[N,3]',
  ])
  const feeds = feedsFor(2)
  feeds.set('reference_logits', randomArray(randomNumbers(5), [2, 3], -1, 1))
  const { input_gradient: gradient } = outputsOf(joint, feeds)
  const images = feeds.get('images') as NdArray
  for (const at of [0, 9, 20, 31]) {
    const before = images.data[at]
    const lossAt = (value: number): number => {
      images.data[at] = value
      const found = outputsOf(joint, feeds).loss.data[Math.floor(at / 16)]
      images.data[at] = before
      return found
    }
    expect(gradient.data[at]).toBeCloseTo((lossAt(before + 1e-5) - lossAt(before - 1e-5)) / 2e-5, 6)
  }
  expect(() => jointGraph(modelOf(tinyResidual), { ...options, loss: 'kl', targeted: true })).toThrow(
    /kl.*targeted|targeted.*kl/,
  )
})

it('puts scale, channel order, mean and standard deviation before the model and their factor into the gradient', () => {
  const b = new GraphBuilder(new Graph('model'))
  const x = b.input('x', 'float32', [N, 3, 4, 4])
  b.graph.outputs.push(b.reduceSum(b.mul(x, b.cast(b.ints([1, 2, 3, 4]), 'float32')), [2, 3], false))
  const preprocess: Preprocess = { mean: [104, 117, 123], std: [50, 60, 70], scale: 255, channelOrder: 'bgr' }
  const feeds = feedsFor(1, 3)
  const images = (feeds.get('images') as NdArray).data
  const expected = [2, 1, 0].map((channel, position) =>
    sum(
      Array.from(
        images.subarray(channel * 16, channel * 16 + 16),
        (v, i) => ((v * 255 - preprocess.mean[position]) / preprocess.std[position]) * ((i % 4) + 1),
      ),
    ),
  )
  const logits = outputsOf(forwardGraph(b.graph, preprocess), feeds).logits.data
  for (const [i, value] of expected.entries()) expect(logits[i]).toBeCloseTo(value, 4)
  const { input_gradient: gradient } = outputsOf(jointGraph(b.graph, { ...options, preprocess, loss: 'margin' }), feeds)
  // The margin is the largest other logit minus that of class 0, which reads the last channel.
  const rival = expected[1] > expected[2] ? 1 : 2
  for (const [position, sign] of [
    [0, -1],
    [rival, 1],
  ])
    for (let i = 0; i < 4; i++)
      expect(gradient.data[(2 - position) * 16 + i]).toBeCloseTo((sign * 255 * (i + 1)) / preprocess.std[position], 4)
})
