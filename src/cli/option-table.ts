import { lossNames } from '../autodiff/index.js'
import { interpolations } from '../data/index.js'
import { OptionError } from '../errors/index.js'

/**
 * Every option of every command, once: the parser, the help and docs/command-line.md are made from this table.
 */
export interface OptionEntry {
  /** As commander takes it: `-o, --out <folder>`. */
  readonly flags: string
  readonly help: string
  readonly commands: readonly CommandName[]
  readonly parse?: (text: string) => unknown
  readonly default?: string | number | boolean
  readonly required?: boolean
  readonly choices?: readonly string[]
}

export type CommandName = 'attack' | 'evaluate' | 'gradient' | 'compile' | 'inspect' | 'info'

const runs = ['attack', 'evaluate'] as const
const models = ['attack', 'evaluate', 'gradient', 'compile'] as const

export const optionTable: readonly OptionEntry[] = [
  {
    flags: '--data <path>',
    help: 'folder or zip of class folders, CIFAR-10 .bin, or .npz with images and labels',
    commands: runs,
    required: true,
  },
  {
    flags: '--attack <name>',
    help: 'fgsm, rs-fgsm, n-fgsm, pgd, mi-fgsm; pgd-20 is PGD with 20 steps, pgd-50-10 with 10 restarts too',
    commands: ['attack'],
    required: true,
  },
  {
    flags: '--attacks <list>',
    help: 'attacks, by commas: fgsm,pgd-20,pgd-l2-20,mi-fgsm-10',
    commands: ['evaluate'],
    default: 'fgsm,pgd-20',
  },
  {
    flags: '--eps <list>',
    help: 'radius in pixel units of [0,1] images, as 8/255 or 0.03; evaluate takes several, by commas',
    commands: runs,
    required: true,
  },
  {
    flags: '--alpha <size>',
    help: 'step size, as 2/255 (default: 2.5·eps/steps for PGD, 1.25·eps for RS-FGSM, eps/steps for MI-FGSM)',
    commands: runs,
  },
  {
    flags: '--steps <n>',
    help: 'steps of an iterative attack (default 10)',
    commands: ['attack'],
    parse: positiveInteger('--steps'),
  },
  {
    flags: '--restarts <n>',
    help: 'random restarts, worst case per sample',
    commands: ['attack'],
    parse: positiveInteger('--restarts'),
  },
  { flags: '--norm <norm>', help: 'linf or l2', commands: ['attack'], choices: ['linf', 'l2'] },
  { flags: '--no-random-start', help: 'start at the clean image', commands: runs },
  { flags: '--start <where>', help: 'where a random L2 start lies', commands: runs, choices: ['ball', 'sphere'] },
  {
    flags: '--loss <name>',
    help: 'what the attack climbs; kl: divergence from the clean logits, from a random start',
    commands: models,
    choices: lossNames,
    default: 'cross-entropy',
  },
  {
    flags: '--target <how>',
    help: 'targeted attack towards: random, least-likely, second, or a class number',
    commands: runs,
  },
  { flags: '--iterate <which>', help: 'the iterate that is kept', commands: runs, choices: ['last', 'best'] },
  {
    flags: '--early-stop',
    help: 'retire a sample once it is fooled and keep that iterate: fewer gradients',
    commands: runs,
  },
  { flags: '--decay <mu>', help: 'momentum decay of MI-FGSM (default 1)', commands: runs, parse: number('--decay') },
  {
    flags: '--noise <k>',
    help: 'width of the noise of N-FGSM in units of eps (default 2)',
    commands: runs,
    parse: number('--noise'),
  },
  {
    flags: '--preprocess <name>',
    help: 'imagenet, cifar10, half, clip or none: what the model expects of its input',
    commands: models,
  },
  {
    flags: '--mean <list>',
    help: 'mean per channel, subtracted after --scale',
    commands: models,
    parse: numbers('--mean'),
  },
  { flags: '--std <list>', help: 'standard deviation per channel', commands: models, parse: numbers('--std') },
  {
    flags: '--scale <factor>',
    help: 'factor on [0,1] images before --mean, 255 for models that take 0 to 255',
    commands: models,
    parse: number('--scale'),
  },
  {
    flags: '--channel-order <order>',
    help: 'order of the channels the model takes',
    commands: models,
    choices: ['rgb', 'bgr'],
  },
  {
    flags: '--input-size <HxW>',
    help: 'fixes a dynamic height and width: 224 or 224x320',
    commands: ['attack', 'evaluate', 'gradient', 'compile', 'inspect'],
    parse: size('--input-size'),
  },
  {
    flags: '--logits <name>',
    help: 'the output that holds the logits, where the file has several',
    commands: ['attack', 'evaluate', 'gradient', 'compile', 'inspect'],
  },
  {
    flags: '--resize <size>',
    help: 'resize as torchvision: 256 (shorter side) or 256x320',
    commands: runs,
    parse: resizeTo,
  },
  {
    flags: '--interpolation <filter>',
    help: 'of --resize, as Pillow: bilinear unless said otherwise; many models were evaluated with bicubic',
    commands: runs,
    choices: interpolations,
  },
  { flags: '--crop <size>', help: 'centre crop as torchvision: 224 or 224x320', commands: runs, parse: size('--crop') },
  {
    flags: '--label-map <file>',
    help: 'JSON or CSV: the class numbers of the model by class name, for data of some of its classes',
    commands: runs,
  },
  {
    flags: '--limit <n>',
    help: 'only this many images, balanced over the classes',
    commands: runs,
    parse: positiveInteger('--limit'),
  },
  { flags: '--batch <n>', help: 'images a pass, or auto', commands: runs, parse: batchSize, default: 'auto' },
  {
    flags: '--device <name>',
    help: 'auto, cpu, cuda, cuda:1 … or sim; auto takes a GPU where there is one and our kernels cover the model',
    commands: runs,
    parse: device,
    default: 'auto',
  },
  {
    flags: '--precision <name>',
    help: 'of the passes of an attack: bf16 on cuda and sim, float32 on cpu unless said otherwise; what is reported is scored in float32 accuracy',
    commands: runs,
    choices: ['bf16', 'fp16', 'float32', 'fp8'],
  },
  {
    flags: '--threads <n>',
    help: 'processor threads (default: all cores)',
    commands: runs,
    parse: positiveInteger('--threads'),
  },
  {
    flags: '--seed <n>',
    help: 'of all random numbers; the same seed gives the same result',
    commands: runs,
    parse: nonNegativeInteger('--seed'),
    default: 0,
  },
  { flags: '--save-adversarial', help: 'write adversarial/<attack>-<eps>.npz', commands: ['evaluate'] },
  { flags: '--out <folder>', help: 'where result.json, samples.csv, metrics.jsonl and report.html go', commands: runs },
  { flags: '-o, --output <file>', help: 'the ONNX file to write', commands: ['gradient'], required: true },
  { flags: '-o, --output <file>', help: 'the plan file to write', commands: ['compile'], required: true },
  {
    flags: '--parameters [regex]',
    help: 'gradients of the mean loss for initialisers (whose name matches) as well',
    commands: ['gradient'],
  },
  {
    flags: '--targeted',
    help: 'a second input `targets`; the loss is that of a targeted attack',
    commands: ['gradient'],
  },
  { flags: '--targeted', help: 'the loss is that of a targeted attack', commands: ['compile'] },
  { flags: '--program', help: 'the kernel launches of the model on a GPU instead', commands: ['inspect'] },
  { flags: '--quiet', help: 'no progress', commands: runs },
  {
    flags: '--json',
    help: 'the result as JSON on stdout, nothing else',
    commands: ['attack', 'evaluate', 'compile', 'inspect', 'info'],
  },
]

function invalid(option: string, expected: string, found: string): Error {
  return new OptionError('OPTION_INVALID', 'cannot be read', { subject: option, expected, found: `'${found}'` })
}

function number(option: string) {
  return (text: string): number => {
    const value = text.trim() === '' ? Number.NaN : Number(text)
    if (!Number.isFinite(value)) throw invalid(option, 'a number', text)
    return value
  }
}

function positiveInteger(option: string) {
  return (text: string): number => {
    if (!/^[1-9]\d{0,8}$/.test(text)) throw invalid(option, 'a whole number from 1', text)
    return Number(text)
  }
}

function nonNegativeInteger(option: string) {
  return (text: string): number => {
    if (!/^\d{1,15}$/.test(text)) throw invalid(option, 'a whole number from 0', text)
    return Number(text)
  }
}

function numbers(option: string) {
  return (text: string): number[] => text.split(',').map(number(option))
}

function size(option: string) {
  return (text: string): [number, number] => {
    const found = /^([1-9]\d{0,4})(?:x([1-9]\d{0,4}))?$/.exec(text)
    if (found === null) throw invalid(option, 'a size as 224 or 224x320 (height x width)', text)
    return [Number(found[1]), Number(found[2] ?? found[1])]
  }
}

/** One number means the shorter side, two are height and width. */
function resizeTo(text: string): number | [number, number] {
  const [height, width] = size('--resize')(text)
  return text.includes('x') ? [height, width] : height
}

function device(text: string): string {
  if (text === 'auto' || text === 'cpu' || /^(sim|cuda(:\d{1,3})?)$/.test(text)) return text
  throw invalid('--device', 'auto, cpu, cuda, cuda:1 … or sim', text)
}

function batchSize(text: string): number | 'auto' {
  return text === 'auto' ? 'auto' : positiveInteger('--batch')(text)
}
