/** Time, randomness and logging as parameters: the simulator and the tests hand in their own. */

/** Wall and monotonic time in milliseconds. */
export interface Clock {
  /** Milliseconds since the Unix epoch. */
  now(): number
  /** Milliseconds from an arbitrary start; never goes back. */
  monotonic(): number
}

/** Cryptographic randomness. */
export interface Random {
  /** `length` fresh random bytes. */
  bytes(length: number): Uint8Array
}

export type LogFields = Readonly<Record<string, unknown>>

/** The subset of pino's interface that we use; fields first, sentence second. */
export interface Logger {
  debug(fields: LogFields, message: string): void
  info(fields: LogFields, message: string): void
  warn(fields: LogFields, message: string): void
  error(fields: LogFields, message: string): void
}

export const systemClock: Clock = {
  now: () => Date.now(),
  monotonic: () => performance.now(),
}

export const systemRandom: Random = {
  bytes: (length) => globalThis.crypto.getRandomValues(new Uint8Array(length)),
}

/** A logger that says nothing. */
export const silentLogger: Logger = { debug: () => {}, info: () => {}, warn: () => {}, error: () => {} }
