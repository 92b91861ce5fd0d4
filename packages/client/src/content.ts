/**
 * What is inside a sealed value: deterministic CBOR [name, value] (RFC 8949 §4.2.1), by cbor2 within our bounds.
 *
 * The name is repeated here and compared after opening, so a replica cannot hand out one name's value under another.
 * Integers come back as numbers up to 2^53−1 and as bigints beyond: 5n returns as 5.
 */
import { decode, encode } from 'cbor2'
import { type CipherlogError, DecodeError, plainBytes, utf8 } from '@cipherlog/core'

/** What can be sealed. Objects are plain, their names strings; nothing is `undefined`. */
export type Value =
  null | boolean | number | bigint | string | Uint8Array | readonly Value[] | { readonly [name: string]: Value }

/** Names: 1 to 1,024 bytes of UTF-8; the empty one belongs to commands without a name. */
export const nameBytesMax = 1024
/** Nesting of arrays and objects. */
export const depthMax = 64
/** CBOR integers have 64 bits. */
const integerMax = 2n ** 64n - 1n

/** @throws TypeError or RangeError, naming the place, on what cannot be sealed. */
export function encodeContent(name: string, value: Value): Uint8Array {
  return new Uint8Array(encode([name, checkedValue(value, 'value', 0)], { cde: true, collapseBigInts: true }))
}

/**
 * The content of an opened value, whose writer may be hostile.
 * @throws DecodeError `ERR_DECODE_CONTENT` unless it is the deterministic encoding of a name and a {@link Value}.
 */
export function decodeContent(content: Uint8Array): { readonly name: string; readonly value: Value } {
  let decoded: unknown
  try {
    decoded = decode(plainBytes(content), {
      cde: true,
      // cbor2 counts two for each level, of which the array of name and value is one.
      maxDepth: 2 * (depthMax + 1),
      collapseBigInts: true,
      rejectDuplicateKeys: true,
      rejectUndefined: true,
      rejectSimple: true,
      rejectStreaming: true,
      requirePreferred: true,
      ignoreGlobalTags: true,
      createObject: (entries) => Object.fromEntries(entries.map(([key, value]) => [stringKey(key), value])),
    })
  } catch (cause) {
    throw badContent(cause)
  }
  if (!Array.isArray(decoded) || decoded.length !== 2 || typeof decoded[0] !== 'string') throw badContent()
  try {
    return { name: decoded[0], value: checkedValue(decoded[1] as Value, 'value', 0) }
  } catch (cause) {
    // Tags and other things that no value of ours is.
    throw badContent(cause)
  }
}

/** @throws TypeError or RangeError unless it is 1 to 1,024 bytes of well-formed text. */
export function checkedName(name: string): string {
  if (typeof name !== 'string' || !name.isWellFormed()) throw new TypeError('a name is well-formed text')
  const { length } = utf8(name)
  if (length < 1 || length > nameBytesMax) throw new RangeError(`a name has 1 to ${nameBytesMax} bytes, not ${length}`)
  return name
}

/** As {@link checkedName}; the empty one is the namespace's own cell. */
export function checkedCellName(name: string): string {
  return name === '' ? '' : checkedName(name)
}

/** A copy that holds nothing but what {@link Value} allows, its bytes plain. */
function checkedValue(value: Value, place: string, depth: number): Value {
  if (depth > depthMax) throw new RangeError(`${place} is nested deeper than ${depthMax}`)
  switch (typeof value) {
    case 'boolean':
    case 'number':
      return value
    case 'bigint':
      if (value > integerMax || value < -integerMax - 1n) throw new RangeError(`${place} does not fit 64 bits`)
      return value
    case 'string':
      if (!value.isWellFormed()) throw new TypeError(`${place} holds a lone surrogate`)
      return value
    case 'object':
      if (value === null) return null
      if (value instanceof Uint8Array) return plainBytes(value)
      if (Array.isArray(value)) {
        return value.map((item: Value, i) => checkedValue(item, `${place}[${i}]`, depth + 1))
      }
      return checkedObject(value as { readonly [name: string]: Value }, place, depth)
    case 'undefined':
    case 'function':
    case 'symbol':
      throw new TypeError(`${place} is ${typeof value}; seal null, booleans, numbers, text, bytes, arrays and objects`)
  }
}

function checkedObject(value: { readonly [name: string]: Value }, place: string, depth: number): Value {
  const prototype: unknown = Object.getPrototypeOf(value)
  if (prototype !== Object.prototype && prototype !== null) {
    throw new TypeError(`${place} is an instance of a class; seal a plain object`)
  }
  return Object.fromEntries(
    Object.entries(value).map(([name, item]) => {
      if (!name.isWellFormed()) throw new TypeError(`${place} has a name with a lone surrogate`)
      return [name, checkedValue(item, `${place}.${name}`, depth + 1)]
    }),
  )
}

function stringKey(key: unknown): string {
  if (typeof key !== 'string') throw new TypeError('the names of an object are text')
  return key
}

function badContent(cause?: unknown): CipherlogError {
  return new DecodeError(
    'ERR_DECODE_CONTENT',
    'The opened value is not deterministic CBOR of a name and a value; its writer uses other software.',
    { cause },
  )
}
