/**
 * Verifier keys of signed notes (https://c2sp.org/signed-note@v1.0.0, "Verifier keys"), as text `name+id+base64`.
 *
 * Two types: 01, Ed25519 over the note text, for logs; 04, a timestamped Ed25519 cosignature, for replicas and
 * witnesses. The four-byte id finds a key among those configured; it proves nothing.
 */
import { concatBytes, DecodeError, fromBase64, toBase64, toHex, utf8 } from '@cipherlog/core'
import { sha256Of } from '@cipherlog/crypto/hash'
import { isKeyName } from './note.ts'

/** Ed25519 signature of the note text. */
export const ed25519KeyType = 0x01
/** Ed25519 cosignature/v1. */
export const cosignatureKeyType = 0x04

const publicKeyBytes = 32

export interface VerifierKey {
  /** Name in the signature line: for a log key the origin. */
  readonly name: string
  readonly type: typeof ed25519KeyType | typeof cosignatureKeyType
  /** Ed25519, 32 bytes. */
  readonly publicKey: Uint8Array
}

/** The key id, 8 lowercase hex digits: SHA-256(name ‖ 0A ‖ type ‖ public key), first 4 bytes. */
export function keyId(key: VerifierKey): string {
  checkKey(key)
  return toHex(sha256Of(utf8(key.name + '\n'), Uint8Array.of(key.type), key.publicKey).subarray(0, 4))
}

/** `name+id+base64(type ‖ public key)`. @throws RangeError on a name or key that cannot be written so. */
export function formatVkey(key: VerifierKey): string {
  return `${key.name}+${keyId(key)}+${toBase64(concatBytes(Uint8Array.of(key.type), key.publicKey))}`
}

/**
 * Parses a vkey of type 01 or 04 and checks its id.
 * @throws {@link DecodeError} `ERR_DECODE_VKEY`.
 */
export function parseVkey(text: string): VerifierKey {
  // Base64 may contain a plus, a name and an id cannot: the first two separate.
  const match = /^([^+]+)\+([0-9a-f]{8})\+([^\s]+)$/.exec(text)
  if (match === null) throw malformed('is not name+id+base64')
  const [, name, id, base64] = match
  if (!isKeyName(name!)) throw malformed('has an invalid name')
  let bytes: Uint8Array
  try {
    bytes = fromBase64(base64!)
  } catch (cause) {
    throw malformed('has a key that is not canonical base64', cause)
  }
  const type = bytes[0]
  if (type !== ed25519KeyType && type !== cosignatureKeyType) throw malformed('has a type other than 01 and 04')
  if (bytes.length !== 1 + publicKeyBytes) throw malformed('does not hold a 32-byte Ed25519 key')
  const key: VerifierKey = { name: name!, type, publicKey: bytes.slice(1) }
  if (keyId(key) !== id) throw malformed('has an id that is not of this name and key')
  return key
}

function checkKey({ name, publicKey }: VerifierKey): void {
  if (!isKeyName(name)) throw new RangeError(`${JSON.stringify(name)} cannot name a key: no spaces, no +, not empty`)
  if (publicKey.length !== publicKeyBytes) throw new RangeError(`an Ed25519 public key is 32 bytes`)
}

function malformed(what: string, cause?: unknown): DecodeError {
  return new DecodeError('ERR_DECODE_VKEY', `The verifier key ${what}; copy it again from its operator.`, { cause })
}
