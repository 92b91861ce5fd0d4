/**
 * Cosignatures of type 04 (https://c2sp.org/tlog-cosignature@v1.0.1): "at this time, this was the largest
 * consistent checkpoint I had seen".
 *
 * The message names neither cosigner nor key, so a key may belong to one cosigner only.
 */
import { readU64, utf8, VerificationError, writeU64 } from '@cipherlog/core'
import { verify } from '@cipherlog/crypto/signature'
import { formatDecimal } from './decimal.ts'
import { cosignatureKeyType, keyId, type VerifierKey } from './verifier-key.ts'

const timeBytes = 8

/** The signed message: header line, time line, then the whole checkpoint text. @throws RangeError on a bad time. */
export function cosignatureMessage(checkpointText: string, timeSeconds: number): Uint8Array {
  return utf8(`cosignature/v1\ntime ${formatDecimal(timeSeconds)}\n${checkpointText}`)
}

/** What follows the key id in a cosignature line: u64 time in seconds, big-endian, then the 64-byte signature. */
export function formatTimedSignature(timeSeconds: number, signature: Uint8Array): Uint8Array {
  const out = new Uint8Array(timeBytes + signature.length)
  writeU64(out, 0, timeSeconds)
  out.set(signature, timeBytes)
  return out
}

/**
 * Verifies a cosignature of a checkpoint text.
 * @param key - of type 04.
 * @param timedSignature - as {@link formatTimedSignature} makes it, 72 bytes.
 * @returns the time in seconds since the Unix epoch, as the cosigner claims.
 * @throws {@link VerificationError} `ERR_VERIFY_NOTE_SIGNATURE` on another length, a time above 2^53−1, or a
 * signature that is not by this key over this text and time.
 */
export function verifyCosignature(checkpointText: string, key: VerifierKey, timedSignature: Uint8Array): number {
  if (key.type !== cosignatureKeyType) throw new RangeError('a cosigner key is of type 04')
  if (timedSignature.length !== timeBytes + 64) throw badSignature(key, `has ${timedSignature.length} bytes, not 72`)
  // The top eleven bits are zero below 2^53: no clock reaches more, and numbers stay exact.
  if (timedSignature[0] !== 0 || timedSignature[1]! > 0x1f) throw badSignature(key, 'has a time above 2^53-1')
  const timeSeconds = readU64(timedSignature, 0)
  const message = cosignatureMessage(checkpointText, timeSeconds)
  if (!verify(key.publicKey, message, timedSignature.subarray(timeBytes))) throw badSignature(key, 'does not verify')
  return timeSeconds
}

/** A line that claims to be by `key` and is not by it over the text at hand. */
export function badSignature(key: VerifierKey, what: string): VerificationError {
  return new VerificationError(
    'ERR_VERIFY_NOTE_SIGNATURE',
    `The signature line of ${key.name} ${what}; do not use the note, and keep it: someone made it.`,
    { details: { name: key.name, keyId: keyId(key) } },
  )
}
