import { execFileSync } from 'node:child_process'
import { copyFileSync, mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { basename, dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { type Binding, nativePath } from '#signstep/native/index.js'
import { include, version } from '#signstep/native/paths.js'

export interface FakeInstallation {
  /** Of the addon. */
  readonly path: string
  readonly native: Binding
  remove(): void
}

/** A copy of addon and core library with the plugin of test/native/fake-engine.cc beside them, under this name. */
export function installFakeEngine(name = 'fake'): FakeInstallation {
  const folder = mkdtempSync(join(tmpdir(), 'signstep-engine-'))
  const from = dirname(nativePath())
  // Not the real plugins.
  for (const file of readdirSync(from).filter((file) => !file.startsWith('libsignstep_')))
    copyFileSync(join(from, file), join(folder, file))
  const source = fileURLToPath(new URL('../native/fake-engine.cc', import.meta.url))
  const definitions = [`-DFAKE_NAME="${name}"`, `-DSIGNSTEP_VERSION="${version}"`, '-DSIGNSTEP_BUILDING']
  const target = join(folder, `libsignstep_${name}-${version}.so`)
  const flags = ['-std=c++20', '-O1', '-Wall', '-Wextra', '-Werror', '-shared', '-fPIC', '-fvisibility=hidden']
  execFileSync(process.env.CXX ?? 'c++', [...flags, ...definitions, `-I${include}`, source, '-o', target], {
    stdio: 'inherit',
  })
  const path = join(folder, basename(nativePath()))
  const native = createRequire(import.meta.url)(path) as Binding
  return { path, native, remove: () => rmSync(folder, { recursive: true }) }
}
