// Writes docs/command-line.md from the option table, after a build: node scripts/command-line-docs.js [--check]
import { readFileSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { optionTable } from '../dist/cli/option-table.js'
import { commandTable } from '../dist/cli/program.js'

const path = fileURLToPath(new URL('../docs/command-line.md', import.meta.url))
const cell = (text) => text.replaceAll('|', '\\|')
const sections = commandTable.map(({ name, summary, takesModel, examples }) => {
  const rows = optionTable
    .filter(({ commands }) => commands.includes(name))
    .map(({ flags, help, default: fallback, required, choices }) => {
      const extra = [
        required && 'required',
        choices?.join(', '),
        fallback !== undefined && `default ${fallback}`,
      ].filter(Boolean)
      return `| \`${cell(flags)}\` | ${cell(help)}${extra.length > 0 ? ` (${extra.join('; ')})` : ''} |`
    })
  return `## signstep ${name}${takesModel ? ' <model>' : ''}\n\n${summary[0].toUpperCase()}${summary.slice(1)}.\n\n| option | meaning |\n|---|---|\n${rows.join('\n')}\n\n${examples.map((line) => `    ${line}`).join('\n')}\n`
})
const text = `# Command line

Made from src/cli/option-table.ts by scripts/command-line-docs.js. The result goes to stdout, everything else to stderr. Exit codes: 0
done, 1 failure, 2 usage, 130 SIGINT, 143 SIGTERM.

${sections.join('\n')}`
if (process.argv.includes('--check')) {
  if (readFileSync(path, 'utf8') !== text) {
    console.error('docs/command-line.md is not what the option table says: run node scripts/command-line-docs.js')
    process.exitCode = 1
  }
} else writeFileSync(path, text)
