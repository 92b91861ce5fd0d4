/**
 * Signing checkpoints: the log's line (type 01), a replica's cosignature line (type 04), and the note of both.
 *
 * These functions sign what they are given. That a size gets one root for ever, and that both are persisted first,
 * is the caller's duty.
 */
import { publicKeyOf, sign } from '@cipherlog/crypto/signature'
import { utf8 } from '@cipherlog/core'
import { parseCheckpoint } from '../verify/checkpoint.ts'
import { cosignatureMessage, formatTimedSignature } from '../verify/cosignature.ts'
import { formatNote, formatSignatureLine, parseSignatureLine } from '../verify/note.ts'
import { cosignatureKeyType, ed25519KeyType, keyId, type VerifierKey } from '../verify/verifier-key.ts'

export interface SigningKey {
  /** Note name of the key. */
  readonly name: string
  /** Ed25519 seed, 32 bytes. */
  readonly secretKey: Uint8Array
}

/**
 * The log's signature line, newline included.
 * @param checkpointText - as `formatCheckpoint` makes it.
 * @param key - named like the checkpoint's origin.
 * @throws {@link DecodeError} `ERR_DECODE_CHECKPOINT` if the text is no checkpoint.
 * @throws RangeError if the name is not the origin.
 */
export function signCheckpoint(checkpointText: string, { name, secretKey }: SigningKey): string {
  const { origin } = parseCheckpoint(checkpointText)
  if (name !== origin) throw new RangeError(`a log key is named like the origin ${origin}, not ${name}`)
  const key: VerifierKey = { name, type: ed25519KeyType, publicKey: publicKeyOf(secretKey) }
  return formatSignatureLine({ name, keyId: keyId(key), signature: sign(secretKey, utf8(checkpointText)) })
}

/**
 * A cosigner's signature line, newline included.
 * @param key - with the time to vouch for, in seconds since the Unix epoch.
 * @throws {@link DecodeError} `ERR_DECODE_CHECKPOINT` if the text is no checkpoint.
 */
export function cosignCheckpoint(
  checkpointText: string,
  { name, secretKey, timeSeconds }: SigningKey & { readonly timeSeconds: number },
): string {
  parseCheckpoint(checkpointText)
  const key: VerifierKey = { name, type: cosignatureKeyType, publicKey: publicKeyOf(secretKey) }
  const signature = sign(secretKey, cosignatureMessage(checkpointText, timeSeconds))
  return formatSignatureLine({ name, keyId: keyId(key), signature: formatTimedSignature(timeSeconds, signature) })
}

/**
 * The note of a text and signature lines, in the order given.
 * @throws {@link DecodeError} `ERR_DECODE_NOTE` on a malformed line; RangeError if the parts make no note.
 */
export function assembleNote(text: string, lines: readonly string[]): string {
  return formatNote(text, lines.map(parseSignatureLine))
}
