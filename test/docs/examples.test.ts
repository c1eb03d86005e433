import { spawnSync } from 'node:child_process'
import { readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { cli, root, scratch } from '../support/cli.js'

/** Fenced blocks of one language in a Markdown file of the repository. */
function blocks(file: string, language: string): string[] {
  const text = readFileSync(join(root, file), 'utf8')
  return [...text.matchAll(new RegExp(`\`\`\`${language}\\n([\\s\\S]*?)\`\`\``, 'g'))].map((match) => match[1])
}

/** A folder in which the documents' relative paths hold. */
function checkout(): string {
  const folder = scratch()
  symlinkSync(join(root, 'examples'), join(folder, 'examples'))
  symlinkSync(join(root, 'dist'), join(folder, 'dist'))
  symlinkSync(join(root, 'package.json'), join(folder, 'package.json'))
  symlinkSync(join(root, 'node_modules'), join(folder, 'node_modules'))
  return folder
}

describe('docs/guide.md', () => {
  const commands = blocks('docs/guide.md', 'sh').flatMap((block) =>
    block.split('\n').filter((line) => line.startsWith('npx signstep')),
  )
  it.each(commands)('%s', async (line) => {
    const args = line.split(' ').slice(2)
    const { code, stderr } = await cli(args, { cwd: checkout() })
    expect(stderr).not.toContain('signstep:')
    expect(code).toBe(0)
  })

  it('shows TypeScript that runs', () => {
    const folder = checkout()
    const [example] = blocks('docs/guide.md', 'ts')
    // The package resolves itself by name from inside its own folder; `await using` is written out for older Node versions.
    const script = join(folder, 'example.mjs')
    writeFileSync(
      script,
      example
        .replaceAll('await using', 'const')
        .replace("'signstep'", `'${join(root, 'dist/index.js')}'`)
        .concat('\nawait model.dispose()\n'),
    )
    const { status, stdout, stderr } = spawnSync(process.execPath, [script], { cwd: folder, encoding: 'utf8' })
    expect(stderr).toBe('')
    expect(status).toBe(0)
    expect(stdout.trim().split('\n').at(-1)).toMatch(/^[\d.]+ [\d.]+$/)
  })
})

it('docs/command-line.md is what the option table says', () => {
  const { status, stderr } = spawnSync(process.execPath, [join(root, 'scripts/command-line-docs.js'), '--check'], {
    encoding: 'utf8',
  })
  expect(stderr).toBe('')
  expect(status).toBe(0)
})
