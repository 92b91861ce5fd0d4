/**
 * Secrets at rest under a passphrase: scrypt (RFC 7914) with r = 8, p = 1, then AES-256-GCM. The salt makes every
 * key fresh, so the nonce is zero; version, cost and salt are the aad.
 *
 * Invariant: the cost is bounded before anything is derived, so a hostile file can ask for at most 1 GiB.
 */
import { aesGcmOpen, aesGcmSeal, scrypt } from '#symmetric'
import {
  bytes,
  CipherlogError,
  constant,
  decode,
  encode,
  type Random,
  record,
  tuple,
  uint,
  utf8,
} from '@cipherlog/core'

const logNMin = 14
const logNMax = 20
const saltBytes = 16
/** Key files hold keyrings; the largest secret in one is a BFV key of 640 kB. */
const ciphertextBytesMax = 64 * 1024 * 1024

const version = constant(1)
const logNCodec = uint(logNMax, logNMin)
const sealedRecord = record('passphrase-sealed', {
  version: [0, version],
  logN: [1, logNCodec],
  salt: [2, bytes(saltBytes)],
  ciphertext: [3, bytes(16, ciphertextBytesMax)],
})
const aad = tuple(version, logNCodec, bytes(saltBytes))

const nonceZero = new Uint8Array(12)

function keyOf(passphrase: string, salt: Uint8Array, logN: number): Uint8Array {
  // NFKC: the same passphrase typed on another keyboard or system is the same bytes.
  return scrypt(utf8(passphrase.normalize('NFKC')), salt, logN, 8, 1)
}

/**
 * Seals `plaintext` under a passphrase; about 0.3 s and 128 MiB at the default cost.
 * @param input.logN - scrypt's N as a power of two, 14 to 20; default 17.
 * @returns a versioned CBOR record of `plaintext.length` + 16 + about 30 bytes.
 * @throws RangeError if `logN` is out of bounds; `ERR_UNSUPPORTED_RUNTIME` outside Node.
 */
export function sealWithPassphrase(input: {
  readonly passphrase: string
  readonly plaintext: Uint8Array
  readonly random: Random
  readonly logN?: number
}): Uint8Array {
  const logN = input.logN ?? 17
  const salt = input.random.bytes(saltBytes)
  const header = encode(aad, [1, logN, salt])
  const ciphertext = aesGcmSeal(keyOf(input.passphrase, salt, logN), nonceZero, header, input.plaintext)
  return encode(sealedRecord, { version: 1, logN, salt, ciphertext })
}

/**
 * Opens what {@link sealWithPassphrase} made.
 * @throws {@link CipherlogError} `ERR_PASSPHRASE` if the passphrase is wrong or the bytes were altered;
 * {@link DecodeError} if they are no such record or its cost is out of bounds; `ERR_UNSUPPORTED_RUNTIME` outside Node.
 */
export function openWithPassphrase(input: { readonly passphrase: string; readonly sealed: Uint8Array }): Uint8Array {
  const { logN, salt, ciphertext } = decode(sealedRecord, input.sealed, ciphertextBytesMax + 64)
  const key = keyOf(input.passphrase, salt, logN)
  const plaintext = aesGcmOpen(key, nonceZero, encode(aad, [1, logN, salt]), ciphertext)
  if (plaintext === undefined)
    throw new CipherlogError('ERR_PASSPHRASE', 'The passphrase is wrong or the file was altered; try again.')
  return plaintext
}
