/** Bounds of an encoding's length, from the shape alone. */
import { CborWriter, majorType, type Codec } from '@cipherlog/core'

function headBytes(argument: number): number {
  const writer = new CborWriter()
  writer.head(majorType.uint, argument)
  return writer.finish().length
}

/** Bytes of the longest encoding that `codec` accepts: every field present and at its limit. */
export function encodedBytesMax({ shape }: Codec<unknown>): number {
  switch (shape.kind) {
    case 'uint':
      return headBytes(shape.max)
    case 'constant':
      return headBytes(shape.value)
    case 'enumeration':
      return headBytes(Math.max(...Object.values(shape.values)))
    case 'bytes':
    case 'text':
      return headBytes(shape.max) + shape.max
    case 'boolean':
      return 1
    case 'array':
      return headBytes(shape.max) + shape.max * encodedBytesMax(shape.item)
    case 'tuple':
      return headBytes(shape.items.length) + shape.items.reduce((sum, item) => sum + encodedBytesMax(item), 0)
    case 'record':
      return shape.fields.reduce((sum, { key, codec }) => sum + headBytes(key) + encodedBytesMax(codec), 1)
    case 'choice':
      return 1 + Math.max(...shape.cases.map(({ tag, codec }) => headBytes(tag) + encodedBytesMax(codec)))
  }
}
