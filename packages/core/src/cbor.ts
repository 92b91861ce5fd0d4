/**
 * Deterministic CBOR (RFC 8949 §4.2.1), byte level: the writer can only produce the one valid encoding, the
 * reader refuses every other. Only what the formats use exists: unsigned integers up to 2⁵³−1, byte and text
 * strings, arrays, maps with small integer keys in ascending order, booleans. No tags, floats, null, negative
 * numbers or indefinite lengths.
 *
 * Invariant: for any bytes the reader accepts, writing what was read gives the same bytes.
 */
import { utf8, utf8ToString } from './bytes.ts'
import { DecodeError } from './errors.ts'

const enum32 = 0x1_0000_0000

/** CBOR major types in use. */
export const majorType = { uint: 0, bytes: 2, text: 3, array: 4, map: 5, simple: 7 } as const

/** Appends canonical CBOR to a growing buffer. Reusable after {@link CborWriter.finish}. */
export class CborWriter {
  #buffer: Uint8Array
  #length = 0

  constructor(initialBytes = 512) {
    this.#buffer = new Uint8Array(initialBytes)
  }

  #reserve(extra: number): void {
    const needed = this.#length + extra
    if (needed <= this.#buffer.length) return
    const grown = new Uint8Array(Math.max(needed, this.#buffer.length * 2))
    grown.set(this.#buffer.subarray(0, this.#length))
    this.#buffer = grown
  }

  /** A type byte with its argument in the shortest form. */
  head(major: number, argument: number): void {
    this.#reserve(9)
    const b = this.#buffer
    const type = major << 5
    let at = this.#length
    if (argument < 24) {
      b[at++] = type | argument
    } else if (argument < 0x100) {
      b[at++] = type | 24
      b[at++] = argument
    } else if (argument < 0x1_0000) {
      b[at++] = type | 25
      b[at++] = argument >>> 8
      b[at++] = argument
    } else {
      let low = argument
      if (argument < enum32) {
        b[at++] = type | 26
      } else {
        b[at++] = type | 27
        const high = Math.floor(argument / enum32)
        b[at++] = high >>> 24
        b[at++] = high >>> 16
        b[at++] = high >>> 8
        b[at++] = high
        low = argument >>> 0
      }
      b[at++] = low >>> 24
      b[at++] = low >>> 16
      b[at++] = low >>> 8
      b[at++] = low
    }
    this.#length = at
  }

  uint(value: number): void {
    if (!Number.isSafeInteger(value) || value < 0) throw new RangeError(`not an unsigned safe integer: ${value}`)
    this.head(majorType.uint, value)
  }

  bytes(value: Uint8Array): void {
    if (!(value instanceof Uint8Array)) throw new TypeError('byte strings are Uint8Arrays')
    this.head(majorType.bytes, value.length)
    this.raw(value)
  }

  /**
   * UTF-8 text of at most `max` bytes.
   * @throws TypeError on a lone surrogate, which UTF-8 cannot express; RangeError if the text is longer.
   */
  text(value: string, max: number = Number.MAX_SAFE_INTEGER): void {
    if (typeof value !== 'string') throw new TypeError('texts are strings')
    const length = value.length
    if (length > max) throw new RangeError(`the text is above ${max} bytes`)
    // Nearly all text is ASCII, where a code unit is a byte: this loop is many times faster than TextEncoder.
    const start = this.#length
    this.head(majorType.text, length)
    this.#reserve(length)
    for (let i = 0; i < length; i++) {
      const unit = value.charCodeAt(i)
      if (unit > 0x7f) {
        this.#length = start
        this.#unicodeText(value, max)
        return
      }
      this.#buffer[this.#length + i] = unit
    }
    this.#length += length
  }

  #unicodeText(value: string, max: number): void {
    if (!value.isWellFormed()) throw new TypeError('the text holds a lone surrogate')
    const encoded = utf8(value)
    if (encoded.length > max) throw new RangeError(`the text is above ${max} bytes`)
    this.head(majorType.text, encoded.length)
    this.raw(encoded)
  }

  boolean(value: boolean): void {
    if (typeof value !== 'boolean') throw new TypeError(`not a boolean: ${String(value)}`)
    this.head(majorType.simple, value ? 21 : 20)
  }

  /** Opens a map whose number of fields (at most 23) is known only after writing them; give the result to {@link CborWriter.endMap}. */
  beginMap(): number {
    this.head(majorType.map, 0)
    return this.#length - 1
  }

  /** Sets the number of fields of the map opened at `start`: up to 23 it fits the byte already written. */
  endMap(start: number, fields: number): void {
    if (fields > 23) throw new RangeError(`${fields} fields, a map opened before counting has at most 23`)
    this.#buffer[start] = (majorType.map << 5) | fields
  }

  /** Bytes as they are: an encoding made elsewhere. */
  raw(value: Uint8Array): void {
    this.#reserve(value.length)
    this.#buffer.set(value, this.#length)
    this.#length += value.length
  }

  /** A fresh copy of what was written; the writer is empty afterwards. */
  finish(): Uint8Array {
    const out = this.#buffer.slice(0, this.#length)
    this.#length = 0
    return out
  }

  /** Forgets what was written (after an error in the middle). */
  reset(): void {
    this.#length = 0
  }
}

/**
 * Reads canonical CBOR from bytes that are attacker-controlled. Byte strings are views into the input, whose
 * owner must not change it afterwards. Every failure is a {@link DecodeError}.
 */
export class CborReader {
  readonly input: Uint8Array
  at = 0
  /** Field names from the outermost record to the current one, for error texts. */
  readonly path: string[] = []

  constructor(input: Uint8Array) {
    // A view of the plain class: subarray of a Buffer would be a Buffer again.
    this.input = new Uint8Array(input.buffer, input.byteOffset, input.byteLength)
  }

  fail(code: string, problem: string): never {
    const where = this.path.length === 0 ? 'the value' : this.path.join('.')
    throw new DecodeError(code, `${where}: ${problem} (at byte ${this.at}).`, {
      details: { path: [...this.path], at: this.at },
    })
  }

  /** The argument of an item of type `major`, which must be in its shortest form. */
  head(major: number): number {
    const input = this.input
    if (this.at >= input.length) this.fail('ERR_DECODE_TRUNCATED', 'the bytes end too early; send the whole encoding')
    const initial = input[this.at]!
    if (initial >> 5 !== major) {
      this.fail('ERR_DECODE_TYPE', `expected CBOR major type ${major}, found ${initial >> 5}`)
    }
    const info = initial & 31
    if (info < 24) {
      this.at += 1
      return info
    }
    if (info > 27) this.fail('ERR_DECODE_NOT_CANONICAL', 'indefinite and reserved lengths are not allowed')
    const width = 1 << (info - 24)
    if (this.at + 1 + width > input.length) {
      this.fail('ERR_DECODE_TRUNCATED', 'the bytes end too early; send the whole encoding')
    }
    let value = 0
    for (let i = 1; i <= width; i++) value = value * 256 + input[this.at + i]!
    const least = width === 1 ? 24 : width === 2 ? 0x100 : width === 4 ? 0x1_0000 : enum32
    if (value < least) this.fail('ERR_DECODE_NOT_CANONICAL', 'the integer is not in its shortest form')
    if (!Number.isSafeInteger(value)) this.fail('ERR_DECODE_LIMIT', 'the integer is above 2^53-1')
    this.at += 1 + width
    return value
  }

  uint(max: number): number {
    const value = this.head(majorType.uint)
    if (value > max) this.fail('ERR_DECODE_LIMIT', `${value} is above the limit ${max}`)
    return value
  }

  #string(major: number, min: number, max: number): Uint8Array {
    const length = this.head(major)
    if (length < min || length > max) {
      this.fail('ERR_DECODE_LIMIT', `${length} bytes, allowed are ${min === max ? min : `${min} to ${max}`}`)
    }
    if (this.at + length > this.input.length) {
      this.fail('ERR_DECODE_TRUNCATED', 'the bytes end too early; send the whole encoding')
    }
    const out = this.input.subarray(this.at, this.at + length)
    this.at += length
    return out
  }

  bytes(min: number, max: number): Uint8Array {
    return this.#string(majorType.bytes, min, max)
  }

  text(max: number): string {
    const encoded = this.#string(majorType.text, 0, max)
    try {
      return utf8ToString(encoded)
    } catch {
      return this.fail('ERR_DECODE_VALUE', 'the text is not valid UTF-8')
    }
  }

  boolean(): boolean {
    const value = this.head(majorType.simple)
    if (value !== 20 && value !== 21) this.fail('ERR_DECODE_TYPE', 'expected a boolean')
    return value === 21
  }

  /** The number of items of an array. */
  array(min: number, max: number): number {
    const length = this.head(majorType.array)
    if (length < min || length > max) {
      this.fail('ERR_DECODE_LIMIT', `${length} items, allowed are ${min === max ? min : `${min} to ${max}`}`)
    }
    return length
  }

  end(): void {
    if (this.at !== this.input.length) {
      this.fail('ERR_DECODE_TRAILING', `${this.input.length - this.at} bytes follow the value; send exactly one value`)
    }
  }
}
