/**
 * The slow, obvious twin of packages/core's codecs: values go through `cbor2`, a general CBOR library, with its
 * options for deterministic encoding (draft-ietf-cbor-cde), and are checked against the shape afterwards.
 * It shares nothing with our reader and writer but the shape.
 */
import { type Codec, utf8 } from '@cipherlog/core'
import { cdeDecodeOptions, cdeEncodeOptions, decode, encode } from 'cbor2'

/** What `cbor2` encodes: maps for records, arrays for the rest; plain Uint8Arrays, since it encodes a Buffer as a map. */
function toGeneric({ shape }: Codec<unknown>, value: unknown): unknown {
  switch (shape.kind) {
    case 'bytes':
      return Uint8Array.from(value as Uint8Array)
    case 'array':
      return (value as unknown[]).map((item) => toGeneric(shape.item, item))
    case 'tuple':
      return (value as unknown[]).map((item, i) => toGeneric(shape.items[i]!, item))
    case 'record': {
      const object = value as Record<string, unknown>
      const present = shape.fields.filter(({ name }) => object[name] !== undefined)
      return new Map(present.map(({ name, key, codec }) => [key, toGeneric(codec, object[name])]))
    }
    case 'choice': {
      const { type, ...rest } = value as { type: string }
      const chosen = shape.cases.find(({ name }) => name === type)!
      return [chosen.tag, toGeneric(chosen.codec, rest)]
    }
    case 'uint':
    case 'text':
    case 'boolean':
    case 'constant':
    case 'enumeration':
      return value
  }
}

function demand(condition: boolean, problem: string): asserts condition {
  if (!condition) throw new Error(problem)
}

function within(count: number, { min, max }: { readonly min: number; readonly max: number }): boolean {
  return count >= min && count <= max
}

function isUint(value: unknown): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0 && !Object.is(value, -0)
}

function fromGeneric(codec: Codec<unknown>, generic: unknown): unknown {
  const value = fromGenericShape(codec, generic)
  const problem = codec.check?.(value)
  demand(problem === undefined, String(problem))
  return value
}

function fromGenericShape({ shape }: Codec<unknown>, generic: unknown): unknown {
  switch (shape.kind) {
    case 'uint':
      demand(isUint(generic) && within(generic, shape), 'integer')
      return generic
    case 'bytes':
      demand(generic instanceof Uint8Array && within(generic.length, shape), 'byte string')
      return generic
    case 'text':
      demand(typeof generic === 'string' && utf8(generic).length <= shape.max, 'text')
      demand(shape.pattern === undefined || shape.pattern.test(generic), 'pattern')
      return generic
    case 'boolean':
      demand(typeof generic === 'boolean', 'boolean')
      return generic
    case 'constant':
      demand(generic === shape.value, 'constant')
      return generic
    case 'enumeration':
      demand(isUint(generic) && Object.values(shape.values).includes(generic), 'enumeration')
      return generic
    case 'array':
      demand(Array.isArray(generic) && within(generic.length, shape), 'array')
      return generic.map((item) => fromGeneric(shape.item, item))
    case 'tuple':
      demand(Array.isArray(generic) && generic.length === shape.items.length, 'tuple')
      return shape.items.map((item, i) => fromGeneric(item, generic[i]))
    case 'record': {
      demand(generic instanceof Map, 'record')
      const known = new Set<unknown>(shape.fields.map(({ key }) => key))
      demand(
        [...generic.keys()].every((key) => known.has(key)),
        'unknown field',
      )
      const out: Record<string, unknown> = {}
      for (const { name, key, codec, optional } of shape.fields) {
        if (generic.has(key)) out[name] = fromGeneric(codec, generic.get(key))
        else demand(optional, `field ${name} is missing`)
      }
      return out
    }
    case 'choice': {
      demand(Array.isArray(generic) && generic.length === 2, 'choice')
      const chosen = shape.cases.find(({ tag }) => tag === generic[0])
      demand(chosen !== undefined, 'tag')
      return { type: chosen.name, ...(fromGeneric(chosen.codec, generic[1]) as object) }
    }
  }
}

/** The deterministic encoding of `value`, by cbor2. Does not check limits. */
export function twinEncode<T>(codec: Codec<T>, value: T): Uint8Array {
  return encode(toGeneric(codec, value), cdeEncodeOptions)
}

/** The value that `bytes` encode, by cbor2. @throws on anything that is not its one valid encoding. */
export function twinDecode<T>(codec: Codec<T>, bytes: Uint8Array): T {
  const generic: unknown = decode(Uint8Array.from(bytes), {
    ...cdeDecodeOptions,
    preferMap: true,
    rejectDuplicateKeys: true,
    // A float, a bignum or a simple value must not pass for an integer.
    rejectFloats: true,
    rejectBigInts: true,
    ignoreGlobalTags: true,
  })
  return fromGeneric(codec, generic) as T
}
