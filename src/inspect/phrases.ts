import type { BlockGroup } from './collapse.js'

type Properties = BlockGroup['properties']

/** What to say of a block beside its kind, by kind; other properties follow by name. */
const phrases: Readonly<Record<string, (properties: Properties) => { says: string[]; uses: string[] }>> = {
  convolution: (p) => ({
    says: [
      `${show(p, 'kernel')}${isOne(p, 'stride') ? '' : `, stride ${show(p, 'stride')}`}`,
      `${show(p, 'inputChannels')} -> ${show(p, 'outputChannels')}`,
      ...(p.has('batchNorm') ? ['batch norm'] : []),
      ...(p.has('activation') ? [show(p, 'activation')] : []),
    ],
    uses: ['kernel', 'stride', 'inputChannels', 'outputChannels', 'batchNorm', 'activation'],
  }),
  linear: (p) => ({
    says: [`${show(p, 'inputs')} -> ${show(p, 'outputs')}`, ...(show(p, 'bias') === 'yes' ? [] : ['no bias'])],
    uses: ['inputs', 'outputs', 'bias'],
  }),
  mlp: (p) => ({
    says: [
      [show(p, 'dim'), show(p, 'hidden'), show(p, p.has('outputDim') ? 'outputDim' : 'dim')].join(' -> '),
      show(p, 'activation'),
    ],
    uses: ['dim', 'hidden', 'outputDim', 'activation'],
  }),
  activation: (p) => ({ says: [show(p, 'function')], uses: ['function'] }),
  pooling: (p) => ({ says: [show(p, 'pool')], uses: ['pool', 'axes'] }),
  'patch merging': (p) => ({
    says: [`${show(p, 'inputDim')} -> ${show(p, 'dim')}`],
    uses: ['inputDim', 'dim'],
  }),
}

/** Kinds that their own line says all about. */
export const selfContained: ReadonlySet<string> = new Set(['convolution', 'mlp', 'patch embedding', 'linear'])

/** `: 3x3, 16 -> 32, relu` */
export function describeProperties({ kind, properties }: BlockGroup): string {
  const { says, uses } = phrases[kind]?.(properties) ?? { says: [], uses: [] }
  const others = [...properties.keys()].filter((name) => !uses.includes(name) && name !== 'epsilon')
  const parts = [...says, ...others.map((name) => labelled(properties, name))]
  return parts.length === 0 ? '' : `: ${parts.join(', ')}`
}

/** headDim 32 → `head dim 32`; a property that is simply true is its name. */
function labelled(properties: Properties, name: string): string {
  const label = name.replace(/[A-Z]/g, (letter) => ` ${letter.toLowerCase()}`)
  const value = show(properties, name)
  return value === 'yes' ? label : `${label} ${value}`
}

const isOne = (properties: Properties, name: string): boolean => /^[1x]*$/.test(show(properties, name))

function show(properties: Properties, name: string): string {
  return (properties.get(name) ?? [undefined]).map(showValue).join(' / ')
}

function showValue(value: unknown): string {
  if (value === undefined || value === false) return 'no'
  if (value === true) return 'yes'
  return Array.isArray(value) ? value.join('x') : String(value)
}
