/** Generators (fast-check) made from a codec's shape: every value that the codec accepts may come, bounds often. */
import { CborWriter, encode, utf8, type Codec } from '@cipherlog/core'
import fc from 'fast-check'
import { itemsOf, layoutOf } from './layout.ts'

/** Where the encoding of an integer or length changes its width, and the neighbours of those places. */
const widths = [0, 1, 23, 24, 255, 256, 65_535, 65_536, 0xffff_ffff, 0x1_0000_0000, Number.MAX_SAFE_INTEGER]
/** Longest string generated where the format allows more: the limits themselves have tests of their own. */
const stringBytesMax = 70_000
/** Most items generated beyond the least number allowed. */
const itemsExtra = 4

function integers(min: number, max: number): fc.Arbitrary<number> {
  const bounds = [min, max, ...widths.filter((value) => value >= min && value <= max)]
  return fc.oneof(fc.constantFrom(...new Set(bounds)), fc.integer({ min, max }))
}

function byteStrings(min: number, max: number): fc.Arbitrary<Uint8Array> {
  const longest = Math.min(max, Math.max(min, stringBytesMax))
  const short = fc.uint8Array({ minLength: Math.min(min, 80), maxLength: Math.min(longest, 80) })
  // Long strings are a pattern: their content matters to no codec, and random ones would cost most of the time.
  const patterned = fc
    .tuple(integers(min, longest), fc.nat(255))
    .map(([length, seed]) => Uint8Array.from({ length }, (_, i) => (i * 31 + seed) & 0xff))
  if (min > 80) return patterned
  return longest <= 80 ? short : fc.oneof({ weight: 9, arbitrary: short }, { weight: 1, arbitrary: patterned })
}

function texts(max: number, pattern: RegExp | undefined): fc.Arbitrary<string> {
  const any = pattern === undefined ? fc.string({ unit: 'binary', maxLength: max }) : fc.stringMatching(pattern)
  return any.filter((value) => utf8(value).length <= max)
}

/** Values of `codec`, refinements included. */
export function arbitraryOf<T>(codec: Codec<T>): fc.Arbitrary<T> {
  const plain = arbitraryOfShape(codec) as fc.Arbitrary<T>
  const { check } = codec
  return check === undefined ? plain : plain.filter((value) => check(value) === undefined)
}

function arbitraryOfShape({ shape }: Codec<unknown>): fc.Arbitrary<unknown> {
  switch (shape.kind) {
    case 'uint':
      return integers(shape.min, shape.max)
    case 'bytes':
      return byteStrings(shape.min, shape.max)
    case 'text':
      return texts(shape.max, shape.pattern)
    case 'boolean':
      return fc.boolean()
    case 'constant':
      return fc.constant(shape.value)
    case 'enumeration':
      return fc.constantFrom(...Object.values(shape.values))
    case 'array':
      return fc.array(arbitraryOf(shape.item), {
        minLength: shape.min,
        maxLength: Math.min(shape.max, shape.min + itemsExtra),
      })
    case 'tuple':
      return fc.tuple(...shape.items.map((item) => arbitraryOf(item)))
    case 'record':
      return fc.record(Object.fromEntries(shape.fields.map((field) => [field.name, arbitraryOf(field.codec)])), {
        requiredKeys: shape.fields.filter((field) => !field.optional).map((field) => field.name),
        noNullPrototype: true,
      })
    case 'choice':
      return fc.oneof(
        ...shape.cases.map(({ name, codec }) =>
          arbitraryOf(codec).map((value) => ({ type: name, ...(value as object) })),
        ),
      )
  }
}

/**
 * A valid encoding with the head of one item changed: to a neighbouring value or length, to its limit or one past it,
 * or to another major type. The content of strings follows their length, so that limits and patterns are reached.
 */
export function itemMutationOf<T>(codec: Codec<T>, values: fc.Arbitrary<T>): fc.Arbitrary<Uint8Array> {
  const change = fc.constantFrom('less', 'more', 'limit', 'pastLimit', 'width', 'major')
  return fc.tuple(values, fc.nat(), change, fc.constantFrom(...widths)).map(([value, pick, kind, width]) => {
    const bytes = encode(codec, value)
    const items = itemsOf(layoutOf(codec, bytes)).filter((item) => item.end - item.start <= stringBytesMax)
    const item = items[pick % items.length]
    if (item === undefined) return bytes
    const { argument } = item
    const limit = limitOf(item.codec)
    const changed = {
      less: Math.max(0, argument - 1),
      more: Math.min(Number.MAX_SAFE_INTEGER, argument + 1),
      limit,
      pastLimit: Math.min(Number.MAX_SAFE_INTEGER, limit + 1),
      width,
      major: argument,
    }[kind]
    const writer = new CborWriter()
    writer.raw(bytes.subarray(0, item.start))
    const major = bytes[item.start]! >> 5
    writer.head(kind === 'major' ? (major + 1 + (pick % 7)) % 8 : major, changed)
    const content = bytes.subarray(item.headEnd, item.end)
    const isString = item.codec.shape.kind === 'bytes' || item.codec.shape.kind === 'text'
    if (isString && changed <= stringBytesMax) {
      const resized = new Uint8Array(changed).fill(0x61)
      resized.set(content.subarray(0, changed))
      writer.raw(resized)
    } else {
      writer.raw(content)
    }
    writer.raw(bytes.subarray(item.end))
    return writer.finish()
  })
}

/** The greatest value or length that the shape allows. */
function limitOf({ shape }: Codec<unknown>): number {
  switch (shape.kind) {
    case 'uint':
    case 'bytes':
    case 'text':
    case 'array':
      return shape.max
    case 'tuple':
      return shape.items.length
    case 'record':
      return shape.fields.length
    case 'choice':
      return 2
    case 'constant':
      return shape.value
    case 'enumeration':
      return Math.max(...Object.values(shape.values))
    case 'boolean':
      return 21
  }
}

/**
 * A valid encoding with one to three places changed: bytes replaced, inserted or removed, or a run of them copied
 * elsewhere. Most results are invalid, some are another valid encoding.
 */
export function mutationOf(encoding: fc.Arbitrary<Uint8Array>): fc.Arbitrary<Uint8Array> {
  const place = fc.nat().map((n) => n / 0x7fff_ffff)
  // Heads stand in the first bytes of most formats: change those as often as all others together.
  const early = fc.oneof(
    place,
    place.map((at) => at * 0.1),
  )
  const change = fc.record({
    at: early,
    remove: fc.oneof(fc.constantFrom(0, 1), fc.nat(4)),
    insert: fc.oneof(
      fc.uint8Array({ maxLength: 2 }),
      // Initial bytes of CBOR with a meaning here: heads, lengths, null, booleans, longer forms.
      fc
        .constantFrom(0x00, 0x01, 0x17, 0x18, 0x40, 0x60, 0x80, 0xa0, 0xf4, 0xf5, 0xf6, 0x19, 0x1b, 0x5f, 0xff)
        .map((b) => Uint8Array.of(b)),
      fc
        .constantFrom([0x18, 0x00], [0x18, 0x18], [0x19, 0x00, 0x18], [0xf8, 0x14])
        .map((list) => Uint8Array.from(list)),
    ),
    /** Copies the inserted run from elsewhere in the encoding instead. */
    copyFrom: fc.option(place, { freq: 4 }),
    copyBytes: fc.integer({ min: 1, max: 80 }),
  })
  return fc.tuple(encoding, fc.array(change, { minLength: 1, maxLength: 3 })).map(([bytes, changes]) => {
    let out = [...bytes]
    for (const { at, remove, insert, copyFrom, copyBytes } of changes) {
      const from = copyFrom === null ? 0 : Math.floor(copyFrom * out.length)
      const run = copyFrom === null ? [...insert] : out.slice(from, from + copyBytes)
      const start = Math.floor(at * out.length)
      out = [...out.slice(0, start), ...run, ...out.slice(start + remove)]
    }
    return Uint8Array.from(out)
  })
}
