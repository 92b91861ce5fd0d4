/**
 * What commands print: sentences for people on a terminal, one JSON object for programs with `--json`. Results go to
 * standard output; progress, hints and errors go to standard error, so that a pipe carries results only.
 */
import { styleText } from 'node:util'
import { CipherlogError, toHex } from '@cipherlog/core'

/** Where a command reads and writes: the process's own, or a test's. */
export interface Streams {
  readonly stdin: NodeJS.ReadableStream & { readonly isTTY?: boolean }
  readonly stdout: NodeJS.WritableStream & { readonly isTTY?: boolean }
  readonly stderr: NodeJS.WritableStream & { readonly isTTY?: boolean }
}

export interface Output {
  readonly json: boolean
  /** A result: `text` for people, `value` for programs. With many results one object per line. */
  result(value: unknown, text: string): void
  /** A hint for people; nothing with `--json`. */
  note(text: string): void
  /** A line that changes in place on a terminal, undefined clears it; nothing with `--json`. */
  progress(text: string | undefined): void
}

export function createOutput(json: boolean, { stdout, stderr }: Pick<Streams, 'stdout' | 'stderr'>): Output {
  const live = !json && stderr.isTTY === true
  let shown = false
  const clear = (): void => {
    if (shown) stderr.write('\r\u001b[K')
    shown = false
  }
  return {
    json,
    result: (value, text) => {
      clear()
      stdout.write(json ? `${toJson(value)}\n` : `${forTerminal(stdout, text)}\n`)
    },
    note: (text) => {
      clear()
      if (!json) stderr.write(`${style(stderr, 'dim', forTerminal(stderr, text))}\n`)
    },
    progress: (text) => {
      if (!live) return
      clear()
      if (text === undefined) return
      stderr.write(text)
      shown = true
    },
  }
}

/**
 * Values, labels and reasons are other people's text: what a terminal would obey is spelled out. A pipe gets them as
 * they are.
 */
function forTerminal(stream: Streams['stdout'], text: string): string {
  return stream.isTTY === true ? spelledOut(text) : text
}

/** Control, format and other invisible characters as `\u{1b}`; line feeds and tabs stay. */
function spelledOut(text: string): string {
  return text.replaceAll(
    /(?![\n\t])[\p{C}\p{Zl}\p{Zp}]/gu,
    (character) => `\\u{${character.codePointAt(0)!.toString(16)}}`,
  )
}

/** Colours only where a person looks, and not if they asked for none (NO_COLOR). */
export function style(stream: Streams['stderr'], format: Parameters<typeof styleText>[0], text: string): string {
  return stream.isTTY === true ? styleText(format, text, { stream }) : text
}

/** JSON with bytes as lowercase hex and bigints as decimal strings. */
export function toJson(value: unknown): string {
  return JSON.stringify(printable(value))
}

/** Before JSON.stringify, which would ask a Buffer for a form of its own. */
function printable(value: unknown): unknown {
  if (typeof value === 'bigint') return value.toString()
  if (value instanceof Uint8Array) return toHex(value)
  if (value instanceof Map) return printable(Object.fromEntries(value))
  if (Array.isArray(value)) return value.map(printable)
  if (typeof value !== 'object' || value === null) return value
  return Object.fromEntries(Object.entries(value).map(([name, inner]) => [name, printable(inner)]))
}

/** Prints an error: its code and a sentence that says what to do. The stack only of what nobody expected. */
export function printError(error: unknown, json: boolean, stderr: Streams['stderr']): void {
  const expected = error instanceof CipherlogError
  const code = expected ? error.code : 'ERR_INTERNAL'
  const message = error instanceof Error ? error.message : String(error)
  if (json) {
    stderr.write(`${toJson({ error: { code, message, details: expected ? error.details : {} } })}\n`)
    return
  }
  // Progress may stand on this line.
  if (stderr.isTTY === true) stderr.write('\r\u001b[K')
  stderr.write(`${style(stderr, 'red', code)}: ${forTerminal(stderr, message)}\n`)
  if (!expected && error instanceof Error && error.stack !== undefined) stderr.write(`${error.stack}\n`)
}
