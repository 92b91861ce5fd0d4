/** Refusals of key events: no leaf, no effect, decided again at apply. Each code is one decision of the sender. */
import { type CipherlogError, RefusedError } from '@cipherlog/core'

export type RegistryRefusalCode =
  /** Not a signed key event, or over its limits. */
  | 'ERR_REGISTRY_UNDECODABLE'
  | 'ERR_REGISTRY_CLUSTER'
  /** Not the number after the last. */
  | 'ERR_REGISTRY_NUMBER'
  | 'ERR_REGISTRY_PREVIOUS'
  | 'ERR_REGISTRY_OPERATOR_SET'
  /** Log time has passed `notAfter`. */
  | 'ERR_REGISTRY_EXPIRED'
  | 'ERR_REGISTRY_SEEN'
  /** Too few, repeated, foreign or bad signatures. */
  | 'ERR_REGISTRY_SIGNATURES'
  /** An id or name that exists already: they are never reused. */
  | 'ERR_REGISTRY_ID_USED'
  /** A public key that something else has, or had. */
  | 'ERR_REGISTRY_KEY_USED'
  | 'ERR_REGISTRY_PUBLIC_KEY'
  | 'ERR_REGISTRY_POSSESSION'
  /** A client, keyset, key version or circuit that does not exist. */
  | 'ERR_REGISTRY_UNKNOWN'
  | 'ERR_REGISTRY_REVOKED'
  | 'ERR_REGISTRY_READY'
  /** The public part of a key version does not fit suite or members. */
  | 'ERR_REGISTRY_KEY_VERSION'
  | 'ERR_REGISTRY_EPOCH'
  | 'ERR_REGISTRY_ENDORSEMENT'
  /** The key version is not in a state that allows it. */
  | 'ERR_REGISTRY_KEY_STATE'
  /** Machine, suite, keyset, circuit and bounds do not fit together. */
  | 'ERR_REGISTRY_NAMESPACE'
  /** A BFV keyset would be shared by namespaces with different writers. */
  | 'ERR_REGISTRY_WRITERS'
  /** Rules or circuits that cannot follow those in force. */
  | 'ERR_REGISTRY_RULES'
  | 'ERR_REGISTRY_COSIGNERS'
  /** The transition to an earlier cosigner set has not been recorded yet. */
  | 'ERR_REGISTRY_TRANSITION'

/** @throws {@link RefusedError} always. */
export function refuse(code: RegistryRefusalCode, message: string, cause?: CipherlogError): never {
  throw new RefusedError(code, message, cause === undefined ? {} : { cause, details: { cause: cause.code } })
}
