/** Diagnostic notation (RFC 8949 §8) of an encoding, with the names of fields, cases and numbers as comments. */
import { CborReader, toHex, type Codec } from '@cipherlog/core'
import { layoutOf, type Child, type Item } from '../../test/conformance/formats/layout.ts'

/** Longer byte strings are shown by their first and last bytes. */
const shownBytesMax = 64

function byteString(bytes: Uint8Array): string {
  if (bytes.length <= shownBytesMax) return `h'${toHex(bytes)}'`
  return `h'${toHex(bytes.subarray(0, 24))} ... ${toHex(bytes.subarray(-8))}' / ${bytes.length} bytes /`
}

class DiagnosticWriter {
  readonly #bytes: Uint8Array

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes
  }

  item({ codec: { shape }, headEnd, end, argument, children }: Item, indent: string): string {
    switch (shape.kind) {
      case 'uint':
      case 'constant':
        return `${argument}`
      case 'enumeration': {
        const name = Object.entries(shape.values).find(([, value]) => value === argument)![0]
        return `${argument} / ${name} /`
      }
      case 'bytes':
        return byteString(this.#bytes.subarray(headEnd, end))
      case 'text':
        return JSON.stringify(new TextDecoder().decode(this.#bytes.subarray(headEnd, end)))
      case 'boolean':
        return argument === 21 ? 'true' : 'false'
      case 'array':
      case 'tuple':
        return this.#container('[', ']', children, indent)
      case 'record':
        return this.#container('{', '}', children, indent)
      case 'choice': {
        const [chosen] = children
        const tag = new CborReader(this.#bytes.subarray(headEnd, chosen!.item.start)).uint(Number.MAX_SAFE_INTEGER)
        return `[${tag} / ${chosen!.name} /, ${this.item(chosen!.item, indent)}]`
      }
    }
  }

  #container(open: string, close: string, children: readonly Child[], indent: string): string {
    if (children.length === 0) return open + close
    const inner = `${indent}  `
    const parts = children.map(({ name, key, item }) => {
      const prefix = key === undefined ? '' : `/ ${name} / ${key}: `
      return prefix + this.item(item, inner)
    })
    const line = `${open}${parts.join(', ')}${close}`
    const isShort = children.every(({ key }) => key === undefined) && !line.includes('\n') && line.length <= 90
    return isShort ? line : `${open}\n${parts.map((part) => inner + part).join(',\n')}\n${indent}${close}`
  }
}

/** The annotated diagnostic notation of `bytes`, a valid encoding by `codec`. */
export function diagnosticOf(codec: Codec<unknown>, bytes: Uint8Array): string {
  return new DiagnosticWriter(bytes).item(layoutOf(codec, bytes), '')
}
