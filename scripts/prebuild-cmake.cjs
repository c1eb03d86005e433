#!/usr/bin/env node
// prebuildify calls this in place of node-gyp: `rebuild --target=… --devdir=… --arch=x64 --release`. It packs what then lies in
// build/Release: the addon and, beside it, the core library and the plugins.
const { execFileSync } = require('node:child_process')
const { rmSync } = require('node:fs')

const arch = (process.argv.find((argument) => argument.startsWith('--arch=')) ?? `--arch=${process.arch}`).slice(
  '--arch='.length,
)
const config = process.argv.includes('--debug') ? 'Debug' : 'Release'
// What is published for Linux has the GPU part, wherever it is built.
if (process.platform === 'linux') {
  execFileSync('scripts/cuda-toolkit', { stdio: ['ignore', 'ignore', 'inherit'] })
  process.env.SIGNSTEP_CUDA = 'ON'
}
rmSync(`build/${config}`, { recursive: true, force: true })
execFileSync(
  process.execPath,
  [require.resolve('cmake-js/bin/cmake-js'), 'rebuild', '--out', 'build/cmake', '--config', config, '--arch', arch],
  { stdio: 'inherit' },
)
