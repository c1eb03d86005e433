import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { loadNative } from '#signstep/native/index.js'
import * as paths from '#signstep/native/paths.js'

test('native code finds the header, the CMake package, the gyp target and the library', () => {
  expect(existsSync(join(paths.include, 'signstep/signstep.h'))).toBe(true)
  expect(existsSync(join(paths.cmake, 'signstepConfig.cmake'))).toBe(true)
  expect(existsSync(paths.gyp)).toBe(true)
  expect(readdirSync(paths.libdir()).some((name) => name.includes(`signstep-${paths.version}`))).toBe(true)
})

test('addon, library and package are of one version', () => {
  const manifest = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as {
    version: string
  }
  expect(paths.version).toBe(manifest.version)
  expect(loadNative().version()).toBe(manifest.version)
})

test('the C table is handed over as an opaque value', () => {
  expect(typeof loadNative().capi).toBe('object')
  expect(Object.keys(loadNative().capi)).toEqual([])
})
