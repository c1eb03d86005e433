// `npm run build:native`: configures, so that a CUDA compiler installed since the last build is found, and builds on all processors.
import { execFileSync } from 'node:child_process'
import { createRequire } from 'node:module'
import { availableParallelism } from 'node:os'

const cmakeJs = createRequire(import.meta.url).resolve('cmake-js/bin/cmake-js')
const run = (...args) =>
  execFileSync(process.execPath, [cmakeJs, ...args, '--out', 'build/cmake', ...process.argv.slice(2)], {
    stdio: 'inherit',
  })

try {
  run('configure')
  run('build', '--parallel', String(availableParallelism()))
} catch (error) {
  // CMake has said why.
  process.exitCode = error.status || 1
}
