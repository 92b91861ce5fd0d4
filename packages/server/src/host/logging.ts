/**
 * The node's log: pino, one JSON object a line, or plain text for people.
 *
 * Invariant: no byte string is ever printed, only its length, at any depth: bodies, keys and seeds are byte strings,
 * so they cannot slip into a log line. Ids and digests worth reading are logged as hex by whoever logs them.
 */
import { CipherlogError, type LogFields, type Logger } from '@cipherlog/core'
import { pino } from 'pino'

export const logLevels = ['debug', 'info', 'warn', 'error', 'silent'] as const
export type LogLevel = (typeof logLevels)[number]

export interface NodeLogger extends Logger {
  /** Changes the level of this logger from now on. */
  setLevel(level: LogLevel): void
}

export interface LoggerOptions {
  readonly level: LogLevel
  /** Text for people instead of JSON for machines. */
  readonly pretty: boolean
  /** Where lines go; standard error if absent. */
  readonly destination?: { write(line: string): void }
}

export function createLogger(options: LoggerOptions): NodeLogger {
  const sink = options.destination ?? process.stderr
  const logger = pino(
    {
      level: options.level,
      base: null,
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (level) => ({ level }), log: (fields) => printableFields(fields) },
      // `printable` has already turned errors into plain objects.
      serializers: { err: (error: unknown) => error, error: (error: unknown) => error },
    },
    { write: (line: string) => void sink.write(options.pretty ? prettyLine(line) : line) },
  )
  const withFields = (level: 'debug' | 'info' | 'warn' | 'error') => (fields: LogFields, message: string) =>
    logger[level](fields, message)
  return {
    debug: withFields('debug'),
    info: withFields('info'),
    warn: withFields('warn'),
    error: withFields('error'),
    setLevel(level) {
      logger.level = level
    },
  }
}

const depthMax = 6
const itemsMax = 64
const textLengthMax = 4096

function printableFields(fields: Record<string, unknown>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(fields).map(([name, value]) => [name, printable(value, 0)]))
}

/** What of `value` may be printed. */
function printable(value: unknown, depth: number): unknown {
  if (typeof value === 'string') return value.length > textLengthMax ? `${value.slice(0, textLengthMax)}…` : value
  if (typeof value === 'bigint') return String(value)
  if (typeof value !== 'object' || value === null) return value
  if (ArrayBuffer.isView(value) || value instanceof ArrayBuffer) return `<${value.byteLength} bytes>`
  if (depth === depthMax) return '…'
  if (value instanceof Error) {
    return {
      name: value.name,
      ...(value instanceof CipherlogError ? { code: value.code, details: printable(value.details, depth + 1) } : {}),
      message: value.message,
      stack: value.stack,
      ...(value.cause === undefined ? {} : { cause: printable(value.cause, depth + 1) }),
    }
  }
  if (Array.isArray(value)) return value.slice(0, itemsMax).map((item) => printable(item, depth + 1))
  return Object.fromEntries(
    Object.entries(value)
      .slice(0, itemsMax)
      .map(([name, inner]) => [name, printable(inner, depth + 1)]),
  )
}

/** `12:00:01.123 warn  sentence  field=value` of a JSON line that pino made. */
function prettyLine(line: string): string {
  const { level, time, msg, ...fields } = JSON.parse(line) as Record<string, unknown>
  const rest = Object.entries(fields).map(
    ([name, value]) => `${name}=${typeof value === 'string' ? value : JSON.stringify(value)}`,
  )
  return [String(time).slice(11, 23), String(level).padEnd(5), String(msg), ...rest].join(' ') + '\n'
}
