import { Command, CommanderError, Option } from 'commander'
import { type CommandName, optionTable } from './option-table.js'
import { packageVersion } from './version.js'

interface CommandEntry {
  readonly name: CommandName
  readonly summary: string
  readonly takesModel: boolean
  readonly examples: readonly string[]
  /** Loaded when the command runs: `signstep info` must not wait for what it does not use. */
  readonly load: () => Promise<(model: string, options: Record<string, unknown>) => Promise<number>>
}

export const commandTable: readonly CommandEntry[] = [
  {
    name: 'attack',
    summary: 'attack images and write the adversarial ones',
    takesModel: true,
    examples: [
      'signstep attack vit.onnx --data photos/ --preprocess imagenet --attack pgd --eps 4/255 --alpha 1/255 --steps 10 --out run/',
      'signstep attack net.onnx --data x.npz --attack pgd --norm l2 --eps 0.5 --steps 20 --out run/',
    ],
    load: async () => (await import('./commands/attack.js')).attackCommand,
  },
  {
    name: 'evaluate',
    summary: 'clean and robust accuracy under several attacks and radii',
    takesModel: true,
    examples: [
      'signstep evaluate vit.onnx --data test.zip --preprocess cifar10 --attacks fgsm,pgd-20,mi-fgsm --eps 1/255,2/255,4/255,8/255 --out run/',
    ],
    load: async () => (await import('./commands/evaluate.js')).evaluateCommand,
  },
  {
    name: 'gradient',
    summary: 'write loss and input gradient as an ordinary ONNX file',
    takesModel: true,
    examples: [
      'signstep gradient vit.onnx --preprocess imagenet -o vit-gradient.onnx',
      'signstep gradient net.onnx --parameters "^head" -o net-gradient.onnx',
    ],
    load: async () => (await import('./commands/gradient.js')).gradientCommand,
  },
  {
    name: 'compile',
    summary: 'write program and weights to a plan file, which C programs run on a GPU without Node',
    takesModel: true,
    examples: [
      'signstep compile vit.onnx --preprocess imagenet -o vit.plan',
      'signstep compile vit.onnx --preprocess imagenet --loss margin --targeted -o vit-margin.plan',
    ],
    load: async () => (await import('./commands/compile.js')).compileCommand,
  },
  {
    name: 'inspect',
    summary: 'what a model is: blocks, FLOPs, parameters, memory',
    takesModel: true,
    examples: [
      'signstep inspect vit.onnx',
      'signstep inspect squeezenet.onnx --input-size 227 --json',
      'signstep inspect vit.onnx --program',
    ],
    load: async () => (await import('./commands/inspect.js')).inspectCommand,
  },
  {
    name: 'info',
    summary: 'versions, devices, which binary was loaded: the first lines of a bug report',
    takesModel: false,
    examples: ['signstep info'],
    load: async () => {
      const { infoCommand } = await import('./commands/info.js')
      return (_model, options) => infoCommand(options)
    },
  },
]

/** The command line as one object: `run` resolves with the exit code and throws what main.ts turns into a message. */
export function createProgram(): { run(args: readonly string[]): Promise<number> } {
  let exitCode = 0
  const program = new Command('signstep')
    .description('Attacks and evaluates ONNX vision models.')
    .version(packageVersion())
    .exitOverride()
    .configureOutput({ outputError: (text, write) => write(`signstep: ${text.replace(/^error: /, '')}`) })
    .showHelpAfterError('(signstep --help lists commands and options)')
  for (const entry of commandTable) {
    const command = program
      .command(entry.name)
      .summary(entry.summary)
      .description(`${capital(entry.summary)}.`)
    if (entry.takesModel) command.argument('<model>', 'ONNX file')
    for (const option of optionTable.filter(({ commands }) => commands.includes(entry.name))) {
      const made = new Option(option.flags, option.help)
      if (option.parse) made.argParser(option.parse)
      if (option.choices) made.choices(option.choices)
      if (option.default !== undefined) made.default(option.default)
      if (option.required) made.makeOptionMandatory()
      command.addOption(made)
    }
    command.addHelpText('after', `\nExamples:\n${entry.examples.map((line) => `  ${line}`).join('\n')}`)
    command.action(async (...given: unknown[]) => {
      const model = entry.takesModel ? (given[0] as string) : ''
      const options = given[entry.takesModel ? 1 : 0] as Record<string, unknown>
      exitCode = await (await entry.load())(model, options)
    })
  }
  return {
    async run(args) {
      try {
        await program.parseAsync([...args], { from: 'user' })
      } catch (error) {
        if (!(error instanceof CommanderError)) throw error
        // Help and --version leave through here as well, with 0; everything else that commander refuses is usage.
        return error.exitCode === 0 ? 0 : 2
      }
      return exitCode
    },
  }
}

const capital = (text: string): string => text[0].toUpperCase() + text.slice(1)
