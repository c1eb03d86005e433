import { noPreprocess, type Preprocess } from '../autodiff/index.js'
import { checkChoice, nearest, OptionError } from '../errors/index.js'

/** What common training recipes expect of an RGB image in [0,1]. */
export const presets: Readonly<Record<string, Preprocess>> = {
  none: noPreprocess,
  imagenet: { ...noPreprocess, mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225] },
  cifar10: { ...noPreprocess, mean: [0.4914, 0.4822, 0.4465], std: [0.247, 0.2435, 0.2616] },
  /** Inception, ViT of Google, BEiT: [−1, 1]. */
  half: { ...noPreprocess, mean: [0.5, 0.5, 0.5], std: [0.5, 0.5, 0.5] },
  clip: { ...noPreprocess, mean: [0.48145466, 0.4578275, 0.40821073], std: [0.26862954, 0.26130258, 0.27577711] },
}

export interface PreprocessOptions {
  /** A preset: `imagenet`, `cifar10`, `half`, `clip` or `none` (the default: the model takes [0,1] images). */
  readonly preprocess?: string
  /** Per channel, in units of the scaled image. They override the preset's. */
  readonly mean?: readonly number[]
  readonly std?: readonly number[]
  readonly scale?: number
  readonly channelOrder?: 'rgb' | 'bgr'
}

/** The keys of PreprocessOptions. */
export const preprocessOptions = ['preprocess', 'mean', 'std', 'scale', 'channelOrder'] as const

/** The preset with what overrides it, checked against the number of channels. Throws OptionError. */
export function resolvePreprocess(options: PreprocessOptions, channels: number): Preprocess {
  const name = options.preprocess ?? 'none'
  const preset = Object.hasOwn(presets, name) ? presets[name] : undefined
  if (preset === undefined) {
    const near = nearest(name, Object.keys(presets))
    throw new OptionError('OPTION_INVALID', 'is no known preprocessing', {
      subject: 'preprocess',
      expected: Object.keys(presets).join(', '),
      found: `'${name}'`,
      cure: near && `Did you mean ${near}?`,
    })
  }
  const { mean = preset.mean, std = preset.std, scale = preset.scale, channelOrder = preset.channelOrder } = options
  checkChoice(channelOrder, ['rgb', 'bgr'], 'channelOrder')
  const perChannel = (values: readonly number[], subject: string): readonly number[] => {
    const bad = values.find((value) => !Number.isFinite(value))
    if (bad !== undefined)
      throw new OptionError('OPTION_INVALID', 'must be finite numbers', { subject, found: String(bad) })
    if (values.length === 0 || values.length === channels) return values
    if (values.length === 1) return new Array<number>(channels).fill(values[0])
    throw new OptionError('OPTION_INVALID', 'has the wrong length', {
      subject,
      expected: `${channels} values, one a channel`,
      found: `${values.length}`,
    })
  }
  const zero = std.find((value) => !(value > 0))
  if (zero !== undefined)
    throw new OptionError('OPTION_INVALID', 'must be positive', { subject: 'std', found: String(zero) })
  if (!(scale > 0 && Number.isFinite(scale)))
    throw new OptionError('OPTION_INVALID', 'must be positive', { subject: 'scale', found: String(scale) })
  return { mean: perChannel(mean, 'mean'), std: perChannel(std, 'std'), scale, channelOrder }
}
