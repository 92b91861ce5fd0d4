/**
 * Codecs: one declaration of a format gives its TypeScript type, a strict deterministic encoder and decoder,
 * its CDDL (RFC 8610) and, in tests, its generator and its slow twin. See packages/format for the formats.
 *
 * A codec never allocates in proportion to a length it has not yet checked, and throws only `DecodeError`
 * (bad bytes) or `RangeError` / `TypeError` (a local caller handed over a value that cannot be encoded).
 */
import { CborReader, CborWriter, majorType } from './cbor.ts'
import { DecodeError } from './errors.ts'

/** What a codec accepts, as data: for CDDL pages, generators and twins. */
export type Shape =
  | { readonly kind: 'uint'; readonly min: number; readonly max: number }
  | { readonly kind: 'bytes'; readonly min: number; readonly max: number }
  | { readonly kind: 'text'; readonly max: number; readonly pattern: RegExp | undefined }
  | { readonly kind: 'boolean' }
  | { readonly kind: 'constant'; readonly value: number }
  | { readonly kind: 'enumeration'; readonly values: Readonly<Record<string, number>> }
  | { readonly kind: 'array'; readonly item: Codec<unknown>; readonly min: number; readonly max: number }
  | { readonly kind: 'tuple'; readonly items: readonly Codec<unknown>[] }
  | { readonly kind: 'record'; readonly fields: readonly FieldShape[] }
  | {
      readonly kind: 'choice'
      readonly cases: readonly { readonly tag: number; readonly name: string; readonly codec: Codec<unknown> }[]
    }

export interface FieldShape {
  readonly name: string
  readonly key: number
  readonly codec: Codec<unknown>
  readonly optional: boolean
}

export interface Codec<T> {
  /** Set for formats that stand on their own in the CDDL; undefined for inline types. */
  readonly name: string | undefined
  readonly shape: Shape
  /** What {@link refine} demands beyond the shape: says what is wrong with a value, or undefined. */
  check?(value: T): string | undefined
  write(writer: CborWriter, value: T): void
  read(reader: CborReader): T
}

/** The TypeScript type that a codec reads and writes. */
export type TypeOf<C> = C extends Codec<infer T> ? T : never

const shared = new CborWriter(4096)
let sharedInUse = false

/** The one valid encoding of `value`, fresh bytes. @throws TypeError or RangeError if the value breaks the format's limits. */
export function encode<T>(codec: Codec<T>, value: NoInfer<T>): Uint8Array {
  if (sharedInUse) {
    const own = new CborWriter()
    codec.write(own, value)
    return own.finish()
  }
  sharedInUse = true
  try {
    codec.write(shared, value)
    return shared.finish()
  } finally {
    shared.reset()
    sharedInUse = false
  }
}

/**
 * The value that `bytes` encode. Byte strings inside are views into `bytes`.
 * @param bytesMax - refuses longer input before looking at it.
 * @throws {@link DecodeError} on anything but the one valid encoding of one value.
 */
export function decode<T>(codec: Codec<T>, bytes: Uint8Array, bytesMax = 16 * 1024 * 1024): T {
  if (bytes.length > bytesMax) {
    throw new DecodeError(
      'ERR_DECODE_LIMIT',
      `${codec.name ?? 'the value'}: ${bytes.length} bytes are above the limit ${bytesMax}.`,
    )
  }
  const reader = new CborReader(bytes)
  if (codec.name !== undefined) reader.path.push(codec.name)
  const value = codec.read(reader)
  reader.end()
  return value
}

/** An unsigned integer between `min` and `max`, both allowed. */
export function uint(max: number = Number.MAX_SAFE_INTEGER, min = 0): Codec<number> {
  return {
    name: undefined,
    shape: { kind: 'uint', min, max },
    write(writer, value) {
      if (value > max || value < min) throw new RangeError(`${value} is outside ${min} to ${max}`)
      writer.uint(value)
    },
    read(reader) {
      const value = reader.uint(max)
      if (value < min) reader.fail('ERR_DECODE_LIMIT', `${value} is below the limit ${min}`)
      return value
    },
  }
}

/** A byte string of `min` to `max` bytes; with one argument, of exactly that length. */
export function bytes(min: number, max: number = min): Codec<Uint8Array> {
  return {
    name: undefined,
    shape: { kind: 'bytes', min, max },
    write(writer, value) {
      if (value.length < min || value.length > max)
        throw new RangeError(`${value.length} bytes, allowed are ${min} to ${max}`)
      writer.bytes(value)
    },
    read: (reader) => reader.bytes(min, max),
  }
}

/** A text string of at most `max` UTF-8 bytes, matching `pattern` (anchored) if given. */
export function text(max: number, pattern?: RegExp): Codec<string> {
  return {
    name: undefined,
    shape: { kind: 'text', max, pattern },
    write(writer, value) {
      if (pattern !== undefined && !pattern.test(value))
        throw new RangeError(`${JSON.stringify(value)} does not match ${pattern}`)
      writer.text(value, max)
    },
    read(reader) {
      const value = reader.text(max)
      if (pattern !== undefined && !pattern.test(value))
        reader.fail('ERR_DECODE_VALUE', `the text does not match ${pattern}`)
      return value
    },
  }
}

export function boolean(): Codec<boolean> {
  return {
    name: undefined,
    shape: { kind: 'boolean' },
    write: (writer, value) => writer.boolean(value),
    read: (reader) => reader.boolean(),
  }
}

/** A number that is always the same: a format version or a kind. An unknown version is its own error. */
export function constant<const N extends number>(value: N, what = 'version'): Codec<N> {
  return {
    name: undefined,
    shape: { kind: 'constant', value },
    write(writer, actual) {
      if (actual !== value) throw new RangeError(`${what} ${actual} is not ${value}`)
      writer.uint(value)
    },
    read(reader) {
      const actual = reader.uint(Number.MAX_SAFE_INTEGER)
      if (actual !== value) {
        reader.fail(
          'ERR_DECODE_VERSION',
          `unknown ${what} ${actual}, this software knows ${value}; use software that knows it`,
        )
      }
      return value
    },
  }
}

/** One of a set of named numbers; unknown numbers are refused. */
export function enumeration<const V extends Readonly<Record<string, number>>>(values: V): Codec<V[keyof V]> {
  const known = new Set(Object.values(values))
  return {
    name: undefined,
    shape: { kind: 'enumeration', values },
    write(writer, value) {
      if (!known.has(value)) throw new RangeError(`${value} is not one of ${[...known].join(', ')}`)
      writer.uint(value)
    },
    read(reader) {
      const value = reader.uint(Number.MAX_SAFE_INTEGER)
      if (!known.has(value)) reader.fail('ERR_DECODE_VALUE', `${value} is not one of ${[...known].join(', ')}`)
      return value as V[keyof V]
    },
  }
}

/** An array of `min` to `max` items. */
export function array<T>(item: Codec<T>, max: number, min = 0): Codec<T[]> {
  return {
    name: undefined,
    shape: { kind: 'array', item: item as Codec<unknown>, min, max },
    write(writer, value) {
      if (value.length < min || value.length > max)
        throw new RangeError(`${value.length} items, allowed are ${min} to ${max}`)
      writer.head(majorType.array, value.length)
      for (const element of value) item.write(writer, element)
    },
    read(reader) {
      const length = reader.array(min, max)
      // Grows as items are read: the announced length has cost its sender nothing yet.
      const out: T[] = []
      for (let i = 0; i < length; i++) out.push(item.read(reader))
      return out
    },
  }
}

/** An array of fixed length with a codec for each place. */
export function tuple<const C extends readonly Codec<any>[]>(
  ...items: C
): Codec<{ -readonly [K in keyof C]: TypeOf<C[K]> }> {
  type T = { -readonly [K in keyof C]: TypeOf<C[K]> }
  return {
    name: undefined,
    shape: { kind: 'tuple', items: items as readonly Codec<unknown>[] },
    write(writer, value) {
      const elements = value as readonly unknown[]
      if (elements.length !== items.length) throw new RangeError(`${elements.length} items, expected ${items.length}`)
      writer.head(majorType.array, items.length)
      for (let i = 0; i < items.length; i++) items[i]!.write(writer, elements[i])
    },
    read(reader) {
      reader.array(items.length, items.length)
      return items.map((item) => item.read(reader) as unknown) as T
    },
  }
}

type Fields = Readonly<Record<string, readonly [key: number, codec: Codec<any>]>>
type Simplify<T> = { [K in keyof T]: T[K] }
/** The object type of a record with required fields R and optional fields O. */
export type RecordOf<R extends Fields, O extends Fields> = Simplify<
  { [K in keyof R]: TypeOf<R[K][1]> } & { [K in keyof O]?: TypeOf<O[K][1]> | undefined }
>

/**
 * A map with small integer keys, written in ascending order of key. Absent optional fields are left out;
 * unknown, repeated, missing and misplaced keys are refused.
 */
export function record<R extends Fields, O extends Fields = Record<never, never>>(
  name: string | undefined,
  required: R,
  optional: O = {} as O,
): Codec<RecordOf<R, O>> {
  const fields: FieldShape[] = [
    ...Object.entries(required).map(([fieldName, [key, codec]]) => ({
      name: fieldName,
      key,
      codec: codec as Codec<unknown>,
      optional: false,
    })),
    ...Object.entries(optional).map(([fieldName, [key, codec]]) => ({
      name: fieldName,
      key,
      codec: codec as Codec<unknown>,
      optional: true,
    })),
  ].sort((a, b) => a.key - b.key)
  const keys = new Set(fields.map((field) => field.key))
  if (
    keys.size !== fields.length ||
    new Set(fields.map((field) => field.name)).size !== fields.length ||
    fields.some((field) => !Number.isInteger(field.key) || field.key < 0 || field.key > 255)
  ) {
    throw new TypeError(`${name}: keys are distinct integers from 0 to 255, names are distinct`)
  }
  if (fields.length > 23) throw new TypeError(`${name}: ${fields.length} fields, a record has at most 23`)
  return {
    name,
    shape: { kind: 'record', fields },
    write(writer, value) {
      const object = value as Record<string, unknown>
      const start = writer.beginMap()
      let count = 0
      for (const field of fields) {
        const fieldValue = object[field.name]
        if (fieldValue === undefined) {
          if (!field.optional) throw new TypeError(`${name ?? 'record'}.${field.name} is missing`)
          continue
        }
        count++
        writer.head(majorType.uint, field.key)
        field.codec.write(writer, fieldValue)
      }
      writer.endMap(start, count)
    },
    read(reader) {
      const count = reader.head(majorType.map)
      // Every turn of the loop uses up a known field or fails, so the count needs no bound of its own.
      const out: Record<string, unknown> = {}
      let next = 0
      // Reported last: a required key that turns up later is out of order, not missing.
      let missing: FieldShape | undefined
      for (let i = 0; i < count; i++) {
        const key = reader.head(majorType.uint)
        while (next < fields.length && fields[next]!.key < key) {
          if (!fields[next]!.optional) missing ??= fields[next]
          next++
        }
        const field = fields[next]
        if (field === undefined || field.key !== key) {
          if (keys.has(key)) reader.fail('ERR_DECODE_NOT_CANONICAL', `key ${key} is repeated or out of order`)
          return reader.fail('ERR_DECODE_VALUE', `unknown field ${key}`)
        }
        next++
        reader.path.push(field.name)
        out[field.name] = field.codec.read(reader)
        reader.path.pop()
      }
      for (; next < fields.length; next++) if (!fields[next]!.optional) missing ??= fields[next]
      if (missing !== undefined) reader.fail('ERR_DECODE_VALUE', `field ${missing.name} is missing`)
      return out as RecordOf<R, O>
    },
  }
}

type Cases = Readonly<Record<string, readonly [tag: number, codec: Codec<any>]>>
/** A tagged union: `{ type: 'name', ...record }`. */
export type ChoiceOf<C extends Cases> = { [K in keyof C]: Simplify<{ type: K } & TypeOf<C[K][1]>> }[keyof C]

/** A tagged union of records, encoded `[tag, record]`; unknown tags are refused. */
export function choice<const C extends Cases>(name: string, cases: C): Codec<ChoiceOf<C>> {
  const byName = new Map(
    Object.entries(cases).map(([caseName, [tag, codec]]) => [
      caseName,
      { tag, name: caseName, codec: codec as Codec<unknown> },
    ]),
  )
  const byTag = new Map([...byName.values()].map((entry) => [entry.tag, entry]))
  if (byTag.size !== byName.size) throw new TypeError(`${name}: tags are distinct`)
  for (const { name: caseName, codec } of byName.values()) {
    if (codec.shape.kind !== 'record' || codec.shape.fields.some((field) => field.name === 'type')) {
      throw new TypeError(`${name}.${caseName}: a case is a record without a field "type"`)
    }
  }
  return {
    name,
    shape: { kind: 'choice', cases: [...byName.values()] },
    write(writer, value) {
      const { type } = value as unknown as { type: string }
      const entry = byName.get(type)
      if (entry === undefined) throw new TypeError(`${name}: unknown type ${type}`)
      writer.head(majorType.array, 2)
      writer.uint(entry.tag)
      entry.codec.write(writer, value)
    },
    read(reader) {
      reader.array(2, 2)
      const tag = reader.uint(Number.MAX_SAFE_INTEGER)
      const entry = byTag.get(tag)
      if (entry === undefined) return reader.fail('ERR_DECODE_VALUE', `unknown ${name} ${tag}`)
      reader.path.push(entry.name)
      const value = entry.codec.read(reader) as object
      reader.path.pop()
      return { type: entry.name, ...value } as unknown as ChoiceOf<C>
    },
  }
}

/** The same codec with a further check: `check` returns what is wrong, or undefined. */
export function refine<T>(codec: Codec<T>, check: (value: T) => string | undefined): Codec<T> {
  return {
    name: codec.name,
    shape: codec.shape,
    check: (value) => codec.check?.(value) ?? check(value),
    write(writer, value) {
      const problem = check(value)
      if (problem !== undefined) throw new RangeError(`${codec.name ?? 'value'}: ${problem}`)
      codec.write(writer, value)
    },
    read(reader) {
      const value = codec.read(reader)
      const problem = check(value)
      if (problem !== undefined) reader.fail('ERR_DECODE_VALUE', problem)
      return value
    },
  }
}

/** The same codec under a name of its own in the CDDL. */
export function named<T>(name: string, codec: Codec<T>): Codec<T> {
  return { ...codec, name }
}
