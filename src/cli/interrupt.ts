/**
 * The first Ctrl-C or SIGTERM aborts the returned signal: the step at work is finished and what is done is kept. The second
 * leaves at once. `exitCode` is the shell's convention, 128 + signal.
 */
export function interruptible(): { signal: AbortSignal; exitCode: () => number; release: () => void } {
  const controller = new AbortController()
  let code = 1
  const handler = (name: NodeJS.Signals): void => {
    code = name === 'SIGINT' ? 130 : 143
    if (controller.signal.aborted) process.exit(code)
    process.stderr.write(`\nsignstep: ${name}: finishing the step at work; again to leave at once\n`)
    controller.abort(name)
  }
  process.on('SIGINT', handler)
  process.on('SIGTERM', handler)
  return {
    signal: controller.signal,
    exitCode: () => code,
    release: () => {
      // What is left to do after an abort may be interrupted too.
      if (controller.signal.aborted) return
      process.off('SIGINT', handler)
      process.off('SIGTERM', handler)
    },
  }
}
