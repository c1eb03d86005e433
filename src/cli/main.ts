#!/usr/bin/env node
import { SignstepError } from '../errors/index.js'
import { createProgram } from './program.js'

// A reader that has seen enough (`signstep … | head`) is no failure; a full disk behind `>` is one.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code === 'EPIPE') return
  process.stderr.write(`signstep: stdout: cannot be written; found ${error.message} [OUTPUT_FAILED]\n`)
  process.exit(1)
})
process.stderr.on('error', () => {}) // There is nowhere left to say it.

/** Exit codes: 0 done, 1 failure, 2 usage, 130 SIGINT, 143 SIGTERM. */
try {
  process.exitCode = await createProgram().run(process.argv.slice(2))
} catch (error) {
  process.exitCode = 1
  if (error instanceof SignstepError) {
    process.stderr.write(`signstep: ${error.message} [${error.code}]\n`)
    if (error.name === 'OptionError') process.exitCode = 2
  } else {
    const text = error instanceof Error ? error.message : String(error)
    process.stderr.write(
      `signstep: unexpected failure: ${text}. Please report it with the output of \`signstep info\`.\n`,
    )
    if (process.env.SIGNSTEP_DEBUG && error instanceof Error) process.stderr.write(`${error.stack}\n`)
  }
}
