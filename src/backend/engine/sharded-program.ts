import type {
  AttackBatch,
  AttackState,
  BestIterates,
  PerSample,
  Program,
  Scores,
  StartRule,
  StepOptions,
  StepResult,
  StepRule,
} from '../program.js'

/**
 * One program on several devices: every batch is shared out among them, and they work side by side. Random numbers belong to samples, so
 * that the results are those of one device.
 */
export class ShardedProgram implements Program {
  readonly batch: number
  private readonly shards: readonly Program[]

  constructor(shards: readonly Program[]) {
    this.shards = shards
    this.batch = shards.reduce((sum, { batch }) => sum + batch, 0)
  }

  get imageShape(): Program['imageShape'] {
    return this.shards[0].imageShape
  }
  get classes(): number {
    return this.shards[0].classes
  }
  get loss(): Program['loss'] {
    return this.shards[0].loss
  }
  get targeted(): boolean {
    return this.shards[0].targeted
  }
  get wholeAttacks(): boolean {
    return this.shards[0].wholeAttacks
  }

  async forward(images: Float32Array, count: number, signal?: AbortSignal): Promise<Float32Array> {
    const per = this.imageShape.reduce((a, b) => a * b, 1)
    const parts = this.shares(count).map(({ shard, from, to }) =>
      shard.forward(images.slice(from * per, to * per), to - from, signal),
    )
    return joined(await all(parts))
  }

  async begin({ images, labels, targets, referenceLogits, sampleIndices, seed }: AttackBatch): Promise<AttackState> {
    const per = this.imageShape.reduce((a, b) => a * b, 1)
    const states = this.shares(labels.length).map(({ shard, from, to }) =>
      shard.begin({
        images: images.slice(from * per, to * per),
        labels: labels.slice(from, to),
        targets: targets?.slice(from, to),
        referenceLogits: referenceLogits?.slice(from * this.classes, to * this.classes),
        sampleIndices: sampleIndices.slice(from, to),
        seed,
      }),
    )
    const settled = await Promise.allSettled(states)
    const failed = settled.find((result) => result.status === 'rejected')
    if (failed === undefined) return new ShardedAttack(await Promise.all(states))
    await Promise.all(settled.map((result) => (result.status === 'fulfilled' ? result.value.dispose() : undefined)))
    throw failed.reason
  }

  async dispose(): Promise<void> {
    await Promise.all(this.shards.map((shard) => shard.dispose()))
  }

  /** Rows of each device, in proportion to what it can hold; devices that would get none are left out. */
  private shares(count: number): { shard: Program; from: number; to: number }[] {
    const shares: { shard: Program; from: number; to: number }[] = []
    let [from, held] = [0, 0]
    for (const shard of this.shards) {
      held += shard.batch
      const to = Math.min(count, Math.ceil((count * held) / this.batch), from + shard.batch)
      if (to > from) shares.push({ shard, from, to })
      from = to
    }
    return shares
  }
}

class ShardedAttack implements AttackState {
  private readonly parts: readonly AttackState[]
  /** Samples of each part as it was begun. */
  private readonly begun: readonly number[]

  constructor(parts: readonly AttackState[]) {
    this.parts = parts
    this.begun = parts.map(({ count }) => count)
  }

  get count(): number {
    return this.parts.reduce((sum, part) => sum + part.count, 0)
  }

  async start(rule: StartRule): Promise<void> {
    if (rule.kind === 'clean') await all(this.living.map((part) => part.start(rule)))
    else await this.each((part, from, to) => part.start({ ...rule, eps: cut(rule.eps, from, to) }))
  }

  async step(rule: StepRule, options?: StepOptions): Promise<StepResult> {
    const [result] = await this.steps(rule, 1, options)
    return result
  }

  async steps(rule: StepRule, count: number, options?: StepOptions): Promise<StepResult[]> {
    const results = await this.each((part, from, to) => part.steps(cutRule(rule, from, to), count, options))
    return Array.from({ length: count }, (_, step) => {
      const own = results.map((list) => list[step])
      return {
        loss: joined(own.map(({ loss }) => loss)),
        predictions: joined(own.map(({ predictions }) => predictions)),
        nanGradients: joined(own.map(({ nanGradients }) => nanGradients)),
        zeroGradients: joined(own.map(({ zeroGradients }) => zeroGradients)),
      }
    })
  }

  async score(signal?: AbortSignal): Promise<Scores> {
    const own = await all(this.living.map((part) => part.score(signal)))
    return {
      loss: joined(own.map(({ loss }) => loss)),
      predictions: joined(own.map(({ predictions }) => predictions)),
      logits: joined(own.map(({ logits }) => logits)),
    }
  }

  async images(rows?: Int32Array): Promise<Float32Array> {
    if (rows === undefined) return joined(await all(this.living.map((part) => part.images())))
    return joined(await this.each((part, from, to) => gathered(rows, from, to, (mine) => part.images(mine))))
  }

  async best(): Promise<BestIterates> {
    const own = await all(this.living.map((part) => part.best()))
    return { images: joined(own.map(({ images }) => images)), loss: joined(own.map(({ loss }) => loss)) }
  }

  async gradient(signal?: AbortSignal): Promise<Float32Array> {
    return joined(await all(this.living.map((part) => part.gradient(signal))))
  }

  async finished(positions: Int32Array): Promise<Float32Array> {
    let to = 0
    const own = this.parts.map((part, i) => {
      const from = to
      to += this.begun[i]
      return gathered(positions, from, to, (mine) => part.finished(mine))
    })
    return joined(await all(own))
  }

  async dispose(): Promise<void> {
    await Promise.all(this.parts.map((part) => part.dispose()))
  }

  /** Those with samples under attack. */
  private get living(): readonly AttackState[] {
    return this.parts.filter(({ count }) => count > 0)
  }

  private each<T>(body: (part: AttackState, from: number, to: number) => Promise<T>): Promise<T[]> {
    let to = 0
    return all(
      this.living.map((part) => {
        const from = to
        to += part.count
        return body(part, from, to)
      }),
    )
  }
}

/** Waits for all of them, so that none still runs when the first failure is reported. */
async function all<T>(work: readonly Promise<T>[]): Promise<T[]> {
  await Promise.allSettled(work)
  return Promise.all(work)
}

/** What `read` gives for those of the ascending rows that lie in a range, counted from its start. */
function gathered(
  rows: Int32Array,
  from: number,
  to: number,
  read: (mine: Int32Array) => Promise<Float32Array>,
): Promise<Float32Array> {
  const mine = rows.filter((row) => row >= from && row < to).map((row) => row - from)
  return mine.length === 0 ? Promise.resolve(new Float32Array(0)) : read(mine)
}

const cut = (value: PerSample, from: number, to: number): PerSample =>
  typeof value === 'number' ? value : value.slice(from, to)

function cutRule(rule: StepRule, from: number, to: number): StepRule {
  const alpha = cut(rule.alpha, from, to)
  if (rule.kind === 'linf') return { ...rule, alpha, eps: rule.eps === undefined ? undefined : cut(rule.eps, from, to) }
  return { ...rule, alpha, eps: cut(rule.eps, from, to) }
}

function joined<T extends Float32Array | Int32Array | Uint8Array>(parts: readonly T[]): T {
  if (parts.length === 1) return parts[0]
  const whole = new (parts[0].constructor as new (length: number) => T)(
    parts.reduce((sum, { length }) => sum + length, 0),
  )
  let at = 0
  for (const part of parts) {
    whole.set(part, at)
    at += part.length
  }
  return whole
}
