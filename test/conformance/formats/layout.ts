/** Where each item of a valid encoding stands, with its codec and name: for golden mutations and annotated examples. */
import { CborReader, majorType, type Codec } from '@cipherlog/core'

export interface Item {
  readonly codec: Codec<unknown>
  /** First byte of the item's head, first byte after the head, first byte after the item. */
  readonly start: number
  readonly headEnd: number
  readonly end: number
  /** The value of an integer, the length of a string or container. */
  readonly argument: number
  readonly children: readonly Child[]
}

/** An item inside another one. Items of arrays have no name, the tag of a choice has no codec and no entry here. */
export interface Child {
  readonly name: string | undefined
  /** Key of a field and where it starts; undefined in arrays. */
  readonly key: number | undefined
  readonly keyStart: number
  readonly item: Item
}

/** The items of `bytes`, which must be a valid encoding by `codec`. */
export function layoutOf(codec: Codec<unknown>, bytes: Uint8Array): Item {
  const reader = new CborReader(bytes)
  const item = readItem(codec, reader)
  reader.end()
  return item
}

const majorOf = {
  uint: majorType.uint,
  constant: majorType.uint,
  enumeration: majorType.uint,
  bytes: majorType.bytes,
  text: majorType.text,
  boolean: majorType.simple,
  array: majorType.array,
  tuple: majorType.array,
  choice: majorType.array,
  record: majorType.map,
} as const

function readItem(codec: Codec<unknown>, reader: CborReader): Item {
  const { shape } = codec
  const start = reader.at
  const argument = reader.head(majorOf[shape.kind])
  const headEnd = reader.at
  const children: Child[] = []
  const child = (part: Codec<unknown>, name?: string, key?: number, keyStart = reader.at) =>
    children.push({ name, key, keyStart, item: readItem(part, reader) })
  switch (shape.kind) {
    case 'bytes':
    case 'text':
      reader.at += argument
      break
    case 'array':
      for (let i = 0; i < argument; i++) child(shape.item)
      break
    case 'tuple':
      for (const part of shape.items) child(part)
      break
    case 'record':
      for (let i = 0; i < argument; i++) {
        const keyStart = reader.at
        const key = reader.head(majorType.uint)
        const field = shape.fields.find((one) => one.key === key)!
        child(field.codec, field.name, key, keyStart)
      }
      break
    case 'choice': {
      const tag = reader.head(majorType.uint)
      const chosen = shape.cases.find((one) => one.tag === tag)!
      child(chosen.codec, chosen.name)
      break
    }
    case 'uint':
    case 'constant':
    case 'enumeration':
    case 'boolean':
      break
  }
  return { codec, start, headEnd, end: reader.at, argument, children }
}

/** The item and everything in it, outermost and first come first. */
export function itemsOf(item: Item): Item[] {
  return [item, ...item.children.flatMap((child) => itemsOf(child.item))]
}
