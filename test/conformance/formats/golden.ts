/**
 * Golden vectors: each sample's one valid encoding, its value in JSON, and mutations of the encoding that every
 * decoder must refuse, named by what was done to it, with the error code of our decoder.
 */
import { CborWriter, encode, fromHex, toHex, type Codec } from '@cipherlog/core'
import { itemsOf, layoutOf, type Item } from './layout.ts'
import { samples, type Sample } from './samples.ts'

/** `bytes[at, at + remove)` replaced by `insert`; not a valid encoding any more. */
export interface InvalidMutation {
  readonly name: string
  readonly at: number
  readonly remove: number
  /** Lowercase hex. */
  readonly insert: string
  readonly error: string
}

export interface GoldenVector {
  readonly name: string
  /** The valid encoding, lowercase hex. */
  readonly hex: string
  /** The decoded value; byte strings are lowercase hex. */
  readonly value: unknown
  readonly invalid: readonly InvalidMutation[]
}

export interface GoldenFile {
  readonly description: string
  readonly vectors: readonly GoldenVector[]
}

/** The mutations, and what each must be refused with. */
const errorOf = {
  'trailing-garbage': 'ERR_DECODE_TRAILING',
  truncated: 'ERR_DECODE_TRUNCATED',
  'non-shortest-integer': 'ERR_DECODE_NOT_CANONICAL',
  'indefinite-length': 'ERR_DECODE_NOT_CANONICAL',
  'swapped-keys': 'ERR_DECODE_NOT_CANONICAL',
  'repeated-key': 'ERR_DECODE_NOT_CANONICAL',
  'unknown-version': 'ERR_DECODE_VERSION',
  'unknown-field': 'ERR_DECODE_VALUE',
  'missing-field': 'ERR_DECODE_VALUE',
  'unknown-case': 'ERR_DECODE_VALUE',
  'unknown-number': 'ERR_DECODE_VALUE',
  'broken-pattern': 'ERR_DECODE_VALUE',
  'over-limit': 'ERR_DECODE_LIMIT',
  'null-value': 'ERR_DECODE_TYPE',
} as const
type MutationName = keyof typeof errorOf

/** The encoding of a head, as {@link CborWriter} writes it. */
function headBytes(initial: number, argument: number): Uint8Array {
  const writer = new CborWriter()
  writer.head(initial >> 5, argument)
  return writer.finish()
}

/** The same head in the next longer form: legal CBOR, but not the shortest. */
function longerHead(head: Uint8Array): Uint8Array {
  const type = head[0]! & 0xe0
  if (head.length === 1) return Uint8Array.of(type | 24, head[0]! & 31)
  const width = head.length - 1
  return Uint8Array.of(type | ((head[0]! & 31) + 1), ...new Uint8Array(width), ...head.subarray(1))
}

/** The least length or value above the item's limit; undefined if it has none. */
function overLimit({ codec: { shape } }: Item): number | undefined {
  switch (shape.kind) {
    case 'uint':
      return shape.max === Number.MAX_SAFE_INTEGER ? undefined : shape.max + 1
    case 'bytes':
    case 'text':
    case 'array':
      return shape.max + 1
    case 'tuple':
      return shape.items.length + 1
    case 'choice':
      return 3
    case 'record':
    case 'constant':
    case 'enumeration':
    case 'boolean':
      return undefined
  }
}

function mutationsOf(bytes: Uint8Array, root: Item): InvalidMutation[] {
  const out: InvalidMutation[] = []
  const items = itemsOf(root)
  const add = (name: MutationName, at: number, remove: number, insert: Uint8Array | readonly number[]) =>
    out.push({ name, at, remove, insert: toHex(Uint8Array.from(insert)), error: errorOf[name] })
  const replaceHead = (name: MutationName, item: Item, head: Uint8Array) =>
    add(name, item.start, item.headEnd - item.start, head)

  add('trailing-garbage', bytes.length, 0, [0])
  add('truncated', bytes.length - 1, 1, [])

  const integer = (item: Item) => ['uint', 'constant', 'enumeration'].includes(item.codec.shape.kind)
  const longer = items.findLast((item) => integer(item) && item.headEnd - item.start < 9) ?? root
  replaceHead('non-shortest-integer', longer, longerHead(bytes.subarray(longer.start, longer.headEnd)))

  const lengthy = items.find((item) => item.headEnd < item.end || item.children.length > 0)
  if (lengthy !== undefined) replaceHead('indefinite-length', lengthy, Uint8Array.of(bytes[lengthy.start]! | 31))

  const limited = items.findLast((item) => overLimit(item) !== undefined)
  if (limited !== undefined) replaceHead('over-limit', limited, headBytes(bytes[limited.start]!, overLimit(limited)!))

  const record = items.find((item) => item.codec.shape.kind === 'record' && item.children.length > 0)
  if (record !== undefined && record.codec.shape.kind === 'record') {
    const { fields } = record.codec.shape
    const head = bytes[record.start]!
    const [first, second] = record.children
    const entry = (child: typeof first) => bytes.subarray(child!.keyStart, child!.item.end)
    if (second !== undefined) {
      const length = second.item.end - first!.keyStart
      add('swapped-keys', first!.keyStart, length, [...entry(second), ...entry(first)])
    }
    add('repeated-key', record.start, record.headEnd - record.start, [
      ...headBytes(head, record.argument + 1),
      ...entry(first),
    ])
    const unknownKey = Math.max(...fields.map(({ key }) => key)) + 1
    add('unknown-field', record.start, record.end - record.start, [
      ...headBytes(head, record.argument + 1),
      ...bytes.subarray(record.headEnd, record.end),
      ...headBytes(0, unknownKey),
      0,
    ])
    const required = record.children.find(({ name }) => fields.some((field) => field.name === name && !field.optional))
    if (required !== undefined) {
      add('missing-field', record.start, required.item.end - record.start, [
        ...headBytes(head, record.argument - 1),
        ...bytes.subarray(record.headEnd, required.keyStart),
      ])
    }
    add('null-value', first!.item.start, first!.item.end - first!.item.start, [0xf6])
  }

  const version = items.find((item) => item.codec.shape.kind === 'constant')
  if (version !== undefined) replaceHead('unknown-version', version, headBytes(0, version.argument + 1))

  const choice = items.find((item) => item.codec.shape.kind === 'choice')
  if (choice !== undefined) add('unknown-case', choice.headEnd, choice.children[0]!.item.start - choice.headEnd, [0])

  const enumeration = items.find((item) => item.codec.shape.kind === 'enumeration')
  if (enumeration !== undefined) replaceHead('unknown-number', enumeration, headBytes(0, 0))

  const patterned = items.find(({ codec: { shape } }) => shape.kind === 'text' && shape.pattern !== undefined)
  if (patterned !== undefined) add('broken-pattern', patterned.headEnd, 1, [0x20])

  return out
}

/** The value as JSON shows it: byte strings as lowercase hex. */
export function jsonOf(value: unknown): unknown {
  if (value instanceof Uint8Array) return toHex(value)
  if (Array.isArray(value)) return value.map(jsonOf)
  if (typeof value === 'object' && value !== null) {
    return Object.fromEntries(Object.entries(value).map(([name, part]) => [name, jsonOf(part)]))
  }
  return value
}

/** The bytes of a vector after one of its mutations. */
export function mutate(hex: string, { at, remove, insert }: InvalidMutation): Uint8Array {
  return fromHex(hex.slice(0, 2 * at) + insert + hex.slice(2 * (at + remove)))
}

function vectorOf({ id, codec, value }: Sample): GoldenVector {
  const bytes = encode(codec, value)
  return {
    name: id,
    hex: toHex(bytes),
    value: orderedJson(codec, value),
    invalid: mutationsOf(bytes, layoutOf(codec, bytes)),
  }
}

/** {@link jsonOf} with the fields in order of key, whatever order the sample was written in. */
function orderedJson(codec: Codec<unknown>, value: unknown): unknown {
  const { shape } = codec
  switch (shape.kind) {
    case 'array':
      return (value as unknown[]).map((item) => orderedJson(shape.item, item))
    case 'tuple':
      return (value as unknown[]).map((item, i) => orderedJson(shape.items[i]!, item))
    case 'choice': {
      const { type } = value as { type: string }
      const { codec: chosen } = shape.cases.find(({ name }) => name === type)!
      return { type, ...(orderedJson(chosen, value) as object) }
    }
    case 'record': {
      const object = value as Record<string, unknown>
      const present = shape.fields.filter(({ name }) => object[name] !== undefined)
      return Object.fromEntries(present.map((field) => [field.name, orderedJson(field.codec, object[field.name])]))
    }
    case 'uint':
    case 'bytes':
    case 'text':
    case 'boolean':
    case 'constant':
    case 'enumeration':
      return jsonOf(value)
  }
}

const description =
  'One valid encoding of every format of packages/format, by <file>/<export>[/<case>], with its value (byte strings ' +
  'as lowercase hex) and mutations that every decoder must refuse: bytes [at, at + remove) of the encoding replaced ' +
  'by insert. Keys and ids are derived from their names; signatures, hashes and checkpoints over them are real. ' +
  'Written by scripts/golden-vectors.ts.'

/** All vectors, computed from the samples. */
export function goldenFile(): GoldenFile {
  return { description, vectors: samples.map(vectorOf) }
}
