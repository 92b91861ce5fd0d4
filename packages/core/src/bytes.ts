/**
 * Byte strings: comparison, concatenation, hex and base64 that refuse what they would not print.
 *
 * Everything here takes and returns plain `Uint8Array`s. A Node `Buffer` is one too, but its `slice`
 * aliases and some libraries encode it differently, so {@link plainBytes} strips the subclass at a boundary.
 */
import { CipherlogError } from './errors.ts'

const utf8Encoder = new TextEncoder()
const utf8Decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

/** The empty byte string. */
export const emptyBytes: Uint8Array = new Uint8Array(0)

/** A plain `Uint8Array` over the same memory (no copy): what is handed to libraries that dislike `Buffer`. */
export function plainBytes(bytes: Uint8Array): Uint8Array {
  return bytes.constructor === Uint8Array ? bytes : new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}

/** True if both have the same length and content. Not constant time: for public values only. */
export function equalBytes(a: Uint8Array, b: Uint8Array): boolean {
  if (a.length !== b.length) return false
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false
  return true
}

/** Lexicographic order, shorter first on a common prefix: negative, zero or positive. */
export function compareBytes(a: Uint8Array, b: Uint8Array): number {
  const n = Math.min(a.length, b.length)
  for (let i = 0; i < n; i++) {
    const d = a[i]! - b[i]!
    if (d !== 0) return d
  }
  return a.length - b.length
}

/** One fresh array holding all parts in turn. */
export function concatBytes(...parts: readonly Uint8Array[]): Uint8Array {
  let length = 0
  for (const part of parts) length += part.length
  const out = new Uint8Array(length)
  let at = 0
  for (const part of parts) {
    out.set(part, at)
    at += part.length
  }
  return out
}

/** UTF-8 bytes of a well-formed string. */
export function utf8(text: string): Uint8Array {
  return utf8Encoder.encode(text)
}

/** The string of UTF-8 bytes. @throws {@link CipherlogError} `ERR_DECODE_VALUE` if they are not UTF-8. */
export function utf8ToString(bytes: Uint8Array): string {
  try {
    return utf8Decoder.decode(bytes)
  } catch (cause) {
    throw new CipherlogError('ERR_DECODE_VALUE', 'The text is not valid UTF-8; send well-formed text.', { cause })
  }
}

const hexDigits = '0123456789abcdef'

/** Lowercase hex. */
export function toHex(bytes: Uint8Array): string {
  let out = ''
  for (const byte of bytes) out += hexDigits[byte >> 4]! + hexDigits[byte & 15]!
  return out
}

/**
 * Bytes of lowercase hex; nothing else is accepted, so `toHex(fromHex(s)) === s`.
 * @throws {@link CipherlogError} `ERR_DECODE_VALUE` on odd length, upper case or other characters.
 */
export function fromHex(hex: string): Uint8Array {
  if (hex.length % 2 !== 0 || !/^[0-9a-f]*$/.test(hex)) {
    throw new CipherlogError('ERR_DECODE_VALUE', 'Expected an even number of lowercase hex digits.')
  }
  const out = new Uint8Array(hex.length / 2)
  for (let i = 0; i < out.length; i++) out[i] = parseInt(hex.slice(2 * i, 2 * i + 2), 16)
  return out
}

/** Standard padded base64 (RFC 4648 §4). */
export function toBase64(bytes: Uint8Array): string {
  let binary = ''
  for (let i = 0; i < bytes.length; i += 0x2000) binary += String.fromCharCode(...bytes.subarray(i, i + 0x2000))
  return btoa(binary)
}

/**
 * Bytes of standard padded base64 (RFC 4648 §4); accepted only in its one canonical spelling.
 * @throws {@link CipherlogError} `ERR_DECODE_VALUE` otherwise (white space, missing padding, stray bits).
 */
export function fromBase64(text: string): Uint8Array {
  const bad = (cause?: unknown) =>
    new CipherlogError('ERR_DECODE_VALUE', 'Expected canonical padded base64 (RFC 4648 §4).', { cause })
  if (!/^[A-Za-z0-9+/]*={0,2}$/.test(text) || text.length % 4 !== 0) throw bad()
  let binary: string
  try {
    binary = atob(text)
  } catch (cause) {
    throw bad(cause)
  }
  const out = new Uint8Array(binary.length)
  for (let i = 0; i < out.length; i++) out[i] = binary.charCodeAt(i)
  if (toBase64(out) !== text) throw bad()
  return out
}

/** Unsigned big-endian 32-bit integer at `at`. */
export function readU32(bytes: Uint8Array, at: number): number {
  return ((bytes[at]! << 24) | (bytes[at + 1]! << 16) | (bytes[at + 2]! << 8) | bytes[at + 3]!) >>> 0
}

/** Writes `value` (0 … 2³²−1) big-endian at `at`. */
export function writeU32(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value >>> 24
  bytes[at + 1] = value >>> 16
  bytes[at + 2] = value >>> 8
  bytes[at + 3] = value
}

/** Unsigned big-endian 64-bit integer at `at`, refused above 2⁵³−1. */
export function readU64(bytes: Uint8Array, at: number): number {
  const value = readU32(bytes, at) * 0x1_0000_0000 + readU32(bytes, at + 4)
  if (!Number.isSafeInteger(value)) {
    throw new CipherlogError('ERR_DECODE_LIMIT', 'The integer is above 2^53-1; no counter of this format reaches that.')
  }
  return value
}

/** Writes a safe non-negative integer big-endian in 8 bytes at `at`. */
export function writeU64(bytes: Uint8Array, at: number, value: number): void {
  writeU32(bytes, at, Math.floor(value / 0x1_0000_0000))
  writeU32(bytes, at + 4, value >>> 0)
}

/** `length` big-endian bytes of a non-negative bigint. @throws RangeError if it does not fit. */
export function bigintToBytes(value: bigint, length: number): Uint8Array {
  const out = new Uint8Array(length)
  let rest = value
  for (let i = length - 1; i >= 0; i--) {
    out[i] = Number(rest & 0xffn)
    rest >>= 8n
  }
  if (rest !== 0n) throw new RangeError(`${value} does not fit ${length} bytes`)
  return out
}

/** The non-negative bigint of big-endian bytes (0n of none). */
export function bytesToBigint(bytes: Uint8Array): bigint {
  return bytes.length === 0 ? 0n : BigInt('0x' + toHex(bytes))
}
