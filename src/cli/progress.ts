/** Where progress goes: one rewritten line on a terminal, a line every few seconds elsewhere, nothing when quiet. */
export interface Progress {
  /** `fraction` of the work in [0,1]; `text` what is being done, without rate or time. */
  update(fraction: number, text: string): void
  /** A line of its own, for what a reader should know at once. */
  say(text: string): void
  /** Ends the rewritten line, so that other output starts on a fresh one. */
  finish(): void
}

const REWRITE_EVERY_MS = 100
const LINE_EVERY_MS = 5000

export function createProgress(quiet: boolean, stream: NodeJS.WriteStream = process.stderr): Progress {
  if (quiet) return { update() {}, say() {}, finish() {} }
  const start = performance.now()
  const pause = stream.isTTY ? REWRITE_EVERY_MS : LINE_EVERY_MS
  let last = stream.isTTY ? Number.NEGATIVE_INFINITY : start
  let open = false
  return {
    update(fraction, text) {
      const now = performance.now()
      if (now - last < pause) return
      last = now
      const elapsed = (now - start) / 1000
      const left = fraction > 0 ? `, ${duration((elapsed / fraction) * (1 - fraction))} left` : ''
      const line = `${(100 * fraction).toFixed(0).padStart(3)} %  ${text}${left}`
      if (stream.isTTY) stream.write(`\r\u001b[K${line.slice(0, Math.max(20, (stream.columns ?? 80) - 1))}`)
      else stream.write(`${line}\n`)
      open = stream.isTTY
    },
    say(text) {
      this.finish()
      stream.write(`${text}\n`)
    },
    finish() {
      if (open) stream.write('\r\u001b[K')
      open = false
    },
  }
}

/** 75 → `1 min 15 s`. */
export function duration(seconds: number): string {
  if (seconds < 60) return `${Math.ceil(seconds)} s`
  const minutes = Math.floor(seconds / 60)
  return minutes < 60
    ? `${minutes} min ${Math.round(seconds % 60)} s`
    : `${Math.floor(minutes / 60)} h ${minutes % 60} min`
}
