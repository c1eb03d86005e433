import { availableParallelism, cpus } from 'node:os'
import type { Model } from '../model/index.js'
import { loadNative } from '../native/index.js'
import type { Environment } from './result.js'

export function describeEnvironment(model: Model): Environment {
  const native = loadNative()
  return {
    signstep: native.version(),
    node: process.version,
    platform: `${process.platform}-${process.arch}`,
    processor: `${cpus()[0]?.model.trim() ?? 'unknown'}, ${availableParallelism()} threads`,
    backend: model.backend.description,
    instructionSet: native.instructionSet(),
    threads: model.threads,
  }
}
