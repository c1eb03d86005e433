import type { AttackSpec } from '../attack/index.js'
import { proportion, type WorstCase } from './result.js'

/** Counts, over the batches, the samples that withstand every attack of a norm and ε. */
export class WorstCases {
  private readonly groups: {
    norm: WorstCase['norm']
    eps: number
    attacks: number[]
    names: string[]
    robust: number
  }[] = []
  private seen = 0

  constructor(specs: readonly AttackSpec[]) {
    for (const [a, { norm, eps, name }] of specs.entries()) {
      let group = this.groups.find((candidate) => candidate.norm === norm && candidate.eps === eps)
      if (group === undefined) {
        group = { norm, eps, attacks: [], names: [], robust: 0 }
        this.groups.push(group)
      }
      group.attacks.push(a)
      group.names.push(name)
    }
  }

  /** `robust[a][i]` is 1 where sample i withstands attack a. */
  add(robust: readonly Uint8Array[], samples: number): void {
    this.seen += samples
    for (const group of this.groups)
      for (let i = 0; i < samples; i++) if (group.attacks.every((a) => robust[a][i] === 1)) group.robust++
  }

  result(): WorstCase[] {
    return this.groups.map(({ norm, eps, names, robust }) => ({
      norm,
      eps,
      attacks: names,
      robustAccuracy: this.seen === 0 ? Number.NaN : robust / this.seen,
      robust: proportion(robust, this.seen),
    }))
  }
}
