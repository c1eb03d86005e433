/**
 * Where native code that uses signstep finds it (`signstep/native`). The simplest way in needs the header only: take the function
 * table from the addon's `capi`. The others link the core library.
 */
import { readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { nativePath, packageRoot } from './load.js'

/** Folder of `signstep/signstep.h`. */
export const include: string = join(packageRoot, 'native/include')

/** For `find_package(signstep CONFIG)`: the value of signstep_DIR. */
export const cmake: string = join(packageRoot, 'native/cmake')

/** For binding.gyp: `<gyp>:signstep_headers`. */
export const gyp: string = join(packageRoot, 'native/signstep.gyp')

/** Folder of the core library, which carries the version in its name. @throws RuntimeError RUNTIME_MISSING */
export const libdir = (): string => dirname(nativePath())

export const version: string = (
  JSON.parse(readFileSync(join(packageRoot, 'package.json'), 'utf8')) as { version: string }
).version
