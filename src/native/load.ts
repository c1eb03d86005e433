import { createRequire } from 'node:module'
import { fileURLToPath } from 'node:url'
import { RuntimeError } from '../errors/index.js'
import type { Binding } from './binding.js'

/** The package's own folder: above dist/native. */
export const packageRoot: string = fileURLToPath(new URL('../..', import.meta.url))

interface NodeGypBuild {
  (folder: string): unknown
  resolve(folder: string): string
}

const nodeGypBuild = createRequire(import.meta.url)('node-gyp-build') as NodeGypBuild

let binding: Binding | undefined

/**
 * The addon, loaded on first use, so that importing signstep never fails on a machine it has no binary for.
 *
 * @throws RuntimeError RUNTIME_MISSING, which says what was looked for and how to get it.
 */
export function loadNative(): Binding {
  if (binding !== undefined) return binding
  try {
    binding = nodeGypBuild(packageRoot) as Binding
  } catch (cause) {
    throw missing(cause)
  }
  return binding
}

/**
 * The addon's file, without loading it: build/Release/signstep.node of a checkout, else the prebuilt one.
 *
 * @throws RuntimeError RUNTIME_MISSING
 */
export function nativePath(): string {
  try {
    return nodeGypBuild.resolve(packageRoot)
  } catch (cause) {
    throw missing(cause)
  }
}

function missing(cause: unknown): RuntimeError {
  return new RuntimeError('RUNTIME_MISSING', 'the native addon cannot be loaded', {
    subject: 'signstep.node',
    expected: `a binary for ${process.platform}-${process.arch}, Node-API 9 or later`,
    found: (cause instanceof Error ? cause.message : String(cause)).split('\n')[0],
    cure: 'In a checkout run `npm run build:native` (needs CMake and a C++20 compiler); otherwise reinstall signstep on this machine.',
    cause,
  })
}
