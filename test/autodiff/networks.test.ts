import { describe, expect, it } from 'vitest'
import { gradientError } from './check-gradient.js'
import { parameterWeights, tinyResidual, tinyTransformer } from './networks.js'

describe.each([
  ['a transformer', tinyTransformer],
  ['a residual network', tinyResidual],
])('%s', (name, network) => {
  const entry = {
    name,
    shapes: [[2, 1, 4, 4]],
    build: (b: Parameters<typeof network>[0], [images]: Parameters<typeof network>[1][]) =>
      network(b, images, parameterWeights(b)),
  }
  it('has the gradient that central differences give', () => {
    for (const seed of [1, 2]) expect(gradientError(entry, 1, seed)).toBeLessThan(1e-6)
  })
  it('can be differentiated once more', () => {
    for (const seed of [1, 2]) expect(gradientError(entry, 2, seed)).toBeLessThan(1e-5)
  })
})
