/** Keys as strings with one character per byte: equal bytes are equal strings, and strings sort as the bytes do. */
import { plainBytes } from '@cipherlog/core'

export function keyOfBytes(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('latin1')
}

export function bytesOfKey(key: string): Uint8Array {
  return plainBytes(Buffer.from(key, 'latin1'))
}
