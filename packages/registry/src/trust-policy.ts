/**
 * The trust policy: all that a client or auditor believes beforehand (DESIGN §4). It never changes by itself.
 *
 * Nothing here is a default: an empty list of witnesses is a decision, and THREAT_MODEL says what it costs.
 */
import { CipherlogError, decode, encode, PolicyError, toHex } from '@cipherlog/core'
import { trustPolicy as trustPolicyCodec, type TrustPolicy } from '@cipherlog/format'
import { cosignatureKeyType, parseVkey, type VerifierKey } from '@cipherlog/merkle/verify'

/** Bytes of an encoded trust policy. */
export const trustPolicyBytesMax = 16_384

/** @throws RangeError or {@link PolicyError} `ERR_POLICY_WITNESSES` on a policy that {@link decodeTrustPolicy} would refuse. */
export function encodeTrustPolicy(policy: TrustPolicy): Uint8Array {
  witnessKeys(policy)
  return encode(trustPolicyCodec, policy)
}

/**
 * @throws {@link DecodeError} `ERR_DECODE_*`.
 * @throws {@link PolicyError} `ERR_POLICY_WITNESSES` if its witnesses could never satisfy it, or one counted twice.
 */
export function decodeTrustPolicy(bytes: Uint8Array): TrustPolicy {
  const policy = decode(trustPolicyCodec, bytes, trustPolicyBytesMax)
  witnessKeys(policy)
  return policy
}

/**
 * The keys of the outside witnesses.
 * @throws {@link PolicyError} `ERR_POLICY_WITNESSES`.
 */
export function witnessKeys({ witnesses, witnessesRequired }: TrustPolicy): VerifierKey[] {
  const keys = witnesses.map(witnessKey)
  if (new Set(keys.map(({ publicKey }) => toHex(publicKey))).size !== keys.length) {
    throw badWitnesses('lists one witness key twice; list each once')
  }
  if (witnessesRequired > keys.length) {
    throw badWitnesses(`asks for ${witnessesRequired} of ${keys.length} witnesses; name more or ask for fewer`)
  }
  return keys
}

function witnessKey(vkey: string): VerifierKey {
  let key: VerifierKey
  try {
    key = parseVkey(vkey)
  } catch (cause) {
    if (!(cause instanceof CipherlogError)) throw cause
    throw badWitnesses(`has a witness that is not a vkey: ${cause.message}`, cause)
  }
  if (key.type !== cosignatureKeyType) throw badWitnesses(`has ${key.name}, which is no cosigner key of type 04`)
  return key
}

/** A trust policy whose list of witnesses makes no sense. */
export function badWitnesses(what: string, cause?: unknown): PolicyError {
  return new PolicyError('ERR_POLICY_WITNESSES', `The trust policy ${what}.`, { cause })
}
