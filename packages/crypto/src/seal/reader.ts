/**
 * Sealing to one reader: HPKE base mode, single shot (RFC 9180 §6.1), with X-Wing (KEM 0x647a,
 * draft-connolly-cfrg-xwing-kem), HKDF-SHA256 and AES-256-GCM; aad empty. Runs in Node and browsers.
 *
 * A secret key is X-Wing's 32-byte seed, which expands to the ML-KEM-768 and X25519 keys.
 */
import { Aes256Gcm, CipherSuite, HkdfSha256 } from '@hpke/core'
import { XWing } from '@hpke/hybridkem-x-wing'
import { type Random } from '@cipherlog/core'
import { labelledHash, labels } from '../hash/index.ts'
import { openFailed } from './open-failed.ts'

const kem = new XWing()
const suite = new CipherSuite({ kem, kdf: new HkdfSha256(), aead: new Aes256Gcm() })

/** Bytes of an X-Wing seed, public key and encapsulated key. */
export const readerSecretKeyBytes = 32
export const readerPublicKeyBytes = 1216
export const encapsulatedKeyBytes = 1120

export interface ReaderKeyPair {
  /** X-Wing seed, 32 bytes. */
  readonly secretKey: Uint8Array
  /** ML-KEM-768 (1,184) ‖ X25519 (32). */
  readonly publicKey: Uint8Array
}

/** A fresh key pair from 32 bytes of `random`. */
export async function generateReaderKey(random: Random): Promise<ReaderKeyPair> {
  const secretKey = random.bytes(readerSecretKeyBytes)
  const pair = await kem.generateKeyPairDerand(copyOf(secretKey))
  return { secretKey, publicKey: new Uint8Array(await kem.serializePublicKey(pair.publicKey)) }
}

/** Names a reader's key in wraps: labelled SHA-256 of its 1,216 bytes, 32 bytes. */
export function readerKeyId(publicKey: Uint8Array): Uint8Array {
  return labelledHash(labels.readerKey, publicKey)
}

/**
 * Seals `plaintext` to the holder of one X-Wing key, with fresh randomness of the platform.
 * @param input.publicKey - 1,216 bytes; proven against the registry by the caller.
 * @param input.info - bound into the key schedule; for wraps CBOR [label, envelope id, wrapEpoch, reader key id].
 * @returns `enc` (1,120 bytes) and `ciphertext` (`plaintext.length + 16` bytes, tag last), fresh arrays.
 * @throws RangeError if the public key is not 1,216 bytes.
 */
export async function sealToReader(input: {
  readonly publicKey: Uint8Array
  readonly info: Uint8Array
  readonly plaintext: Uint8Array
}): Promise<{ enc: Uint8Array; ciphertext: Uint8Array }> {
  if (input.publicKey.length !== readerPublicKeyBytes)
    throw new RangeError(`an X-Wing public key is ${readerPublicKeyBytes} bytes, not ${input.publicKey.length}`)
  const recipientPublicKey = await kem.deserializePublicKey(copyOf(input.publicKey))
  const { enc, ct } = await suite.seal({ recipientPublicKey, info: copyOf(input.info).buffer }, copyOf(input.plaintext))
  return { enc: new Uint8Array(enc), ciphertext: new Uint8Array(ct) }
}

/**
 * Opens what {@link sealToReader} made.
 * @throws {@link CipherlogError} `ERR_OPEN_FAILED` on any failure, without detail; RangeError if the secret key is
 * not 32 bytes.
 */
export async function openFromSender(input: {
  readonly secretKey: Uint8Array
  readonly enc: Uint8Array
  readonly info: Uint8Array
  readonly ciphertext: Uint8Array
}): Promise<Uint8Array> {
  if (input.secretKey.length !== readerSecretKeyBytes)
    throw new RangeError(`an X-Wing secret key is ${readerSecretKeyBytes} bytes, not ${input.secretKey.length}`)
  const recipientKey = await kem.deserializePrivateKey(copyOf(input.secretKey))
  let plaintext
  try {
    plaintext = await suite.open(
      { recipientKey, enc: copyOf(input.enc).buffer, info: copyOf(input.info).buffer },
      copyOf(input.ciphertext),
    )
  } catch {
    throw openFailed()
  }
  return new Uint8Array(plaintext)
}

/**
 * A plain copy with a buffer of its own: the library takes whole ArrayBuffers, a view may sit in a shared pool, and
 * `slice` of a Buffer would alias it.
 */
function copyOf(bytes: Uint8Array): Uint8Array<ArrayBuffer> {
  return new Uint8Array(bytes)
}
