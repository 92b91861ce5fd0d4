/**
 * What commands print: sentences for people on a terminal, one JSON object for programs with `--json`. Results go to
 * standard output, everything else (progress, hints, errors) to standard error.
 */
import { stdout, stderr } from 'node:process'
import { styleText } from 'node:util'
import { CipherlogError, toHex } from '@cipherlog/core'

export interface Output {
  readonly json: boolean
  /** A result: `text` for people, `value` for programs. */
  result(value: unknown, text: string): void
  /** One of many results, such as a watched entry: with `--json` one object per line. */
  item(value: unknown, text: string): void
  /** A hint for people; nothing with `--json`. */
  note(text: string): void
  /** A line that changes in place on a terminal; nothing with `--json`. */
  progress(text: string | undefined): void
}

export function createOutput(json: boolean): Output {
  const live = !json && stderr.isTTY
  return {
    json,
    result: (value, text) => void stdout.write(json ? `${toJson(value)}\n` : `${text}\n`),
    item: (value, text) => void stdout.write(json ? `${toJson(value)}\n` : `${text}\n`),
    note: (text) => {
      if (!json) stderr.write(`${styleText('dim', text)}\n`)
    },
    progress: (text) => {
      if (live) stderr.write(text === undefined ? '\r\u001b[K' : `\r\u001b[K${text}`)
    },
  }
}

/** JSON with bytes as hex and bigints as decimal strings. */
export function toJson(value: unknown): string {
  return JSON.stringify(value, (_key, inner: unknown) => {
    if (inner instanceof Uint8Array) return toHex(inner)
    if (typeof inner === 'bigint') return inner.toString()
    if (inner instanceof Map) return Object.fromEntries(inner)
    return inner
  })
}

/** A bar of `width` cells, and the time that is left at this pace. */
export function progressBar(done: number, total: number, elapsedMs: number, width = 28): string {
  const share = total === 0 ? 1 : Math.min(1, done / total)
  const filled = Math.round(share * width)
  const leftMs = done === 0 ? undefined : (elapsedMs / done) * (total - done)
  const eta = leftMs === undefined ? '' : leftMs < 1000 ? ' almost done' : ` about ${Math.ceil(leftMs / 1000)} s left`
  return `${'█'.repeat(filled)}${'░'.repeat(width - filled)} ${done}/${total}${eta}`
}

/** Prints an error with its code and what to do; returns the exit code (docs/ERRORS.md). */
export function reportError(error: unknown, json: boolean): number {
  const code = error instanceof CipherlogError ? error.code : 'ERR_INTERNAL'
  const message = error instanceof Error ? error.message : String(error)
  if (json) stderr.write(`${toJson({ error: { code, message, details: error instanceof CipherlogError ? error.details : {} } })}\n`)
  else {
    stderr.write(`${styleText('red', code)}: ${message}\n`)
    if (!(error instanceof CipherlogError) && error instanceof Error) stderr.write(`${error.stack ?? ''}\n`)
  }
  return exitCodeOf(code)
}

/** 1 invalid or refused, 2 usage, 3 rejected by verdict, 69 unavailable, 70 internal, 78 configuration. */
export function exitCodeOf(code: string): number {
  if (code === 'ERR_INTERNAL' || code === 'ERR_INVARIANT') return 70
  if (code === 'ERR_CONFIG' || code === 'ERR_DIRECTORY' || code === 'ERR_PASSPHRASE') return 78
  if (code === 'ERR_UNAVAILABLE' || code === 'ERR_BUSY' || code === 'ERR_OUTCOME_UNKNOWN' || code === 'ERR_NOT_LEADER') return 69
  if (code.startsWith('ERR_REJECTED_')) return 3
  return 1
}
