import { describe, expect, it } from 'vitest'
import { proportion } from '#signstep/evaluate/index.js'

describe('the 95 % interval of a share', () => {
  it("is Wilson's: 8 of 10 lie between 49.0 and 94.3 %", () => {
    // Newcombe 1998, "Two-sided confidence intervals for the single proportion", and any table of the score interval.
    const { accuracy, low, high } = proportion(8, 10)
    expect(accuracy).toBe(0.8)
    expect(low).toBeCloseTo(0.4902, 4)
    expect(high).toBeCloseTo(0.9433, 4)
  })

  it('stays inside [0,1] at the ends', () => {
    expect(proportion(0, 20).low).toBe(0)
    expect(proportion(20, 20).high).toBe(1)
    expect(proportion(0, 20).high).toBeCloseTo(0.1611, 3)
  })
})
