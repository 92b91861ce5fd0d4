/** Input that is kept: a plain copy, so that its owner may overwrite the original, made only within a limit. */
import { DecodeError } from '@cipherlog/core'

/** @throws {@link DecodeError} `ERR_DECODE_LIMIT` if there are more than `bytesMax` bytes. */
export function ownCopy(bytes: Uint8Array, bytesMax: number, what: string): Uint8Array {
  if (bytes.length > bytesMax) {
    throw new DecodeError('ERR_DECODE_LIMIT', `${what}: ${bytes.length} bytes are above the limit ${bytesMax}.`)
  }
  return new Uint8Array(bytes)
}
