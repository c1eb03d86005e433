import { type NativeAttack, ruleCodes, startCodes } from '../../native/index.js'
import type {
  AttackState,
  BestIterates,
  PerSample,
  Scores,
  StartRule,
  StepOptions,
  StepResult,
  StepRule,
} from '../program.js'
import { awaited, settled } from './native-failure.js'

/** A batch under attack on a device. The rule is the end of the backward pass there; nothing but a few numbers a step comes back. */
export class EngineAttack implements AttackState {
  count: number
  private readonly native: NativeAttack
  private readonly device: string

  constructor(native: NativeAttack, count: number, device: string) {
    this.native = native
    this.count = count
    this.device = device
  }

  start(rule: StartRule): Promise<void> {
    const kind = rule.kind === 'l2' ? startCodes[rule.where] : startCodes[rule.kind]
    const eps = this.perSample(rule.kind === 'clean' ? 0 : rule.eps)
    const scale = rule.kind === 'uniform' ? rule.scale : 1
    const restart = rule.kind === 'clean' ? 0 : rule.restart
    return awaited(() => this.native.start(kind, eps, scale, restart), this.device, 'the start of the attack')
  }

  async step(rule: StepRule, options?: StepOptions): Promise<StepResult> {
    const [result] = await this.steps(rule, 1, options)
    return result
  }

  async steps(
    rule: StepRule,
    count: number,
    { signal, retire = false, remember = false }: StepOptions = {},
  ): Promise<StepResult[]> {
    const n = this.count
    const alpha = this.perSample(rule.alpha)
    const eps = rule.eps === undefined ? undefined : this.perSample(rule.eps)
    const decay = rule.kind === 'momentum' ? rule.decay : 0
    const { loss, predictions, nanGradients, zeroGradients, left } = await settled(
      () => this.native.steps(ruleCodes[rule.kind], alpha, eps, decay, rule.direction, count, retire, remember),
      signal,
      this.device,
      'the step',
    )
    if (retire) this.count = left[count - 1]
    return Array.from({ length: count }, (_, i) => {
      const [from, to] = [i * n, i * n + (i === 0 ? n : left[i - 1])]
      return {
        loss: loss.subarray(from, to),
        predictions: predictions.subarray(from, to),
        nanGradients: nanGradients.subarray(from, to),
        zeroGradients: zeroGradients.subarray(from, to),
      }
    })
  }

  score(signal?: AbortSignal): Promise<Scores> {
    return settled(() => this.native.score(), signal, this.device, 'the score')
  }

  images(rows?: Int32Array): Promise<Float32Array> {
    return awaited(() => this.native.images(rows), this.device, 'reading the images')
  }

  best(): Promise<BestIterates> {
    return awaited(() => this.native.best(), this.device, 'reading the best iterates')
  }

  gradient(signal?: AbortSignal): Promise<Float32Array> {
    return settled(() => this.native.gradient(), signal, this.device, 'the gradient')
  }

  finished(positions: Int32Array): Promise<Float32Array> {
    return awaited(() => this.native.finished(positions), this.device, 'reading finished images')
  }

  dispose(): Promise<void> {
    return awaited(() => this.native.dispose(), this.device, 'the end of the attack')
  }

  private perSample(value: PerSample): Float32Array {
    return typeof value === 'number' ? new Float32Array(this.count).fill(value) : value
  }
}
