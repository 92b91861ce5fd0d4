/** Arguments of commands, checked as they are read: a wrong one is a usage error that says what is expected. */
import { fromHex } from '@cipherlog/core'
import { UsageError } from './exit-codes.ts'

/** @returns a parser for commander: a whole number from `min` to `max`. */
export function integer(min: number, max: number): (text: string) => number {
  return (text) => {
    const value = Number(text)
    if (/^\d{1,15}$/.test(text) && value >= min && value <= max) return value
    throw new UsageError(`${JSON.stringify(text)} is not a whole number from ${min} to ${max}.`)
  }
}

/** 16 bytes as 32 lowercase hex digits. @param what - such as `client`. */
export function id(text: string, what: string): Uint8Array {
  if (/^[0-9a-f]{32}$/.test(text)) return fromHex(text)
  throw new UsageError(`${JSON.stringify(text)} is not a ${what} id, which has 32 lowercase hex digits.`)
}

/** Bytes of a fixed length as lowercase hex. */
export function hexBytes(text: string, length: number, what: string): Uint8Array {
  if (text.length === 2 * length && /^[0-9a-f]*$/.test(text)) return fromHex(text)
  throw new UsageError(`${what} has ${2 * length} lowercase hex digits.`)
}

/** @param known - what may be chosen. */
export function oneOf<T extends string>(text: string, known: readonly T[], what: string): T {
  const found = known.find((name) => name === text)
  if (found !== undefined) return found
  throw new UsageError(`${JSON.stringify(text)} is not a ${what}; choose one of ${known.join(', ')}.`)
}

/** A whole number of a counter: 0 or more, of any size. */
export function amount(text: string): bigint {
  if (/^\d{1,20}$/.test(text)) return BigInt(text)
  throw new UsageError(`${JSON.stringify(text)} is not an amount; give a whole number such as 1999.`)
}

/** A vector as JSON: `[1,2,3]`. */
export function numbers(text: string): number[] {
  let parsed: unknown
  try {
    parsed = JSON.parse(text)
  } catch (cause) {
    throw new UsageError(
      `${JSON.stringify(text)} is not a vector; write it like [1,2,3] (${(cause as Error).message}).`,
    )
  }
  if (Array.isArray(parsed) && parsed.length > 0 && parsed.every((item) => Number.isSafeInteger(item))) {
    return parsed as number[]
  }
  throw new UsageError('A vector is a list of whole numbers, such as [1,2,3].')
}

/** What people put: JSON if it is JSON, else the text itself. @throws UsageError on a number that JSON would round */
export function textOrJson(text: string): unknown {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error
    return text
  }
  requireExact(value)
  return value
}

function requireExact(value: unknown): void {
  if (typeof value === 'number' && Number.isInteger(value) && !Number.isSafeInteger(value)) {
    throw new UsageError('The value holds a whole number above 2^53-1, which JSON rounds; put it in quotes.')
  }
  if (typeof value === 'object' && value !== null) Object.values(value).forEach(requireExact)
}
