/**
 * Sealed values (DESIGN §6, "Values"): salt (32) ‖ AES-256-GCM(key, nonce 0, aad = H, padded plaintext), where
 * salt = HMAC(contentKey, `salt`, CBOR[32 random bytes, SHA-256(plaintext)]), key = HMAC(contentKey, `value`,
 * CBOR[salt, H]) and plaintext = u32 length ‖ content ‖ zeros up to padmé(4 + length).
 *
 * Invariant: one key seals one plaintext. The salt depends on randomness and plaintext both, so even a clone with
 * the same random state gets another key for another plaintext, and the fixed nonce never repeats under a key.
 */
import { aesGcmOpen, aesGcmSeal } from '#symmetric'
import { CborWriter, concatBytes, majorType, type Random, readU32, writeU32 } from '@cipherlog/core'
import { labelledMac, labels, sha256 } from '../hash/index.ts'
import { checkedContentKey } from './content-key.ts'
import { openFailed } from './open-failed.ts'
import { padme } from './padme.ts'

const saltBytes = 32
const lengthBytes = 4
const nonceZero = new Uint8Array(12)

/**
 * Seals `content` under a content key.
 * @param input.contentKey - 32 bytes, of the envelope that the command names.
 * @param input.context - H, 32 bytes: the labelled hash that binds cluster, client, namespace, key and commandId.
 * @returns 48 + padmé(4 + content.length) bytes.
 * @throws RangeError on wrong sizes; {@link CipherlogError} `ERR_UNSUPPORTED_RUNTIME` outside Node.
 */
export function sealValue(input: {
  readonly contentKey: Uint8Array
  readonly context: Uint8Array
  readonly content: Uint8Array
  readonly random: Random
}): Uint8Array {
  const { contentKey, context, content } = input
  checkSizes(contentKey, context)
  const plaintext = new Uint8Array(padme(lengthBytes + content.length))
  writeU32(plaintext, 0, content.length)
  plaintext.set(content, lengthBytes)
  const salt = labelledMac(contentKey, labels.salt, pair(input.random.bytes(32), sha256(plaintext)))
  return concatBytes(salt, aesGcmSeal(messageKey(contentKey, salt, context), nonceZero, context, plaintext))
}

/**
 * Opens what {@link sealValue} made under the same content key and context.
 * @returns the content, fresh bytes.
 * @throws {@link CipherlogError} `ERR_OPEN_FAILED` on any failure, without detail; RangeError on wrong sizes of key
 * or context; `ERR_UNSUPPORTED_RUNTIME` outside Node.
 */
export function openValue(input: {
  readonly contentKey: Uint8Array
  readonly context: Uint8Array
  readonly sealed: Uint8Array
}): Uint8Array {
  const { contentKey, context, sealed } = input
  checkSizes(contentKey, context)
  if (sealed.length < saltBytes) throw openFailed()
  const salt = sealed.subarray(0, saltBytes)
  const key = messageKey(contentKey, salt, context)
  const plaintext = aesGcmOpen(key, nonceZero, context, sealed.subarray(saltBytes))
  if (plaintext === undefined) throw openFailed()
  return unpad(plaintext)
}

/** The content of a padded plaintext; its padding must be zeros of the one right number. */
function unpad(plaintext: Uint8Array): Uint8Array {
  if (plaintext.length < lengthBytes) throw openFailed()
  const end = lengthBytes + readU32(plaintext, 0)
  if (end > plaintext.length || padme(end) !== plaintext.length) throw openFailed()
  for (let i = end; i < plaintext.length; i++) if (plaintext[i] !== 0) throw openFailed()
  return plaintext.slice(lengthBytes, end)
}

function messageKey(contentKey: Uint8Array, salt: Uint8Array, context: Uint8Array): Uint8Array {
  return labelledMac(contentKey, labels.value, pair(salt, context))
}

/** CBOR [a, b]. */
function pair(a: Uint8Array, b: Uint8Array): Uint8Array {
  const writer = new CborWriter(80)
  writer.head(majorType.array, 2)
  writer.bytes(a)
  writer.bytes(b)
  return writer.finish()
}

function checkSizes(contentKey: Uint8Array, context: Uint8Array): void {
  checkedContentKey(contentKey)
  if (context.length !== 32) throw new RangeError(`the context H is 32 bytes, not ${context.length}`)
}
