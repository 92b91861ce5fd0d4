/** Who writes: a client's id on the log and its signing key. */
import { equalBytes, PolicyError, toHex } from '@cipherlog/core'
import { publicKeyOf } from '@cipherlog/crypto/signature'
import { type ProvenView } from './registry-view.ts'

export interface Identity {
  /** 16 bytes, as an operator registered it. */
  readonly client: Uint8Array
  /** Ed25519 seed, 32 bytes. */
  readonly secretKey: Uint8Array
}

/** @throws RangeError on wrong sizes. */
export function checkedIdentity(identity: Identity): Identity {
  if (identity.client.length !== 16) throw new RangeError(`a client id is 16 bytes, not ${identity.client.length}`)
  if (identity.secretKey.length !== 32) {
    throw new RangeError(`a client's secret key is 32 bytes, not ${identity.secretKey.length}`)
  }
  return identity
}

/** Deriving a key costs as much as a signature, and it is compared before every write. */
const publicKeys = new WeakMap<Uint8Array, Uint8Array>()

function publicKeyFor(secretKey: Uint8Array): Uint8Array {
  let publicKey = publicKeys.get(secretKey)
  if (publicKey === undefined) {
    publicKey = publicKeyOf(secretKey)
    publicKeys.set(secretKey, publicKey)
  }
  return publicKey
}

/**
 * Stops a client that the registry knows to be unable to write, before it sends anything.
 * @throws PolicyError `ERR_POLICY_CLIENT` (not registered, or under another key), `ERR_POLICY_REVOKED`.
 */
export function checkMayWrite({ client, secretKey }: Identity, { registry, laterEvents }: ProvenView): void {
  const id = toHex(client)
  const entry = registry.client(client)
  if (entry === undefined) {
    throw new PolicyError('ERR_POLICY_CLIENT', `The log knows no client ${id}; ask an operator to add it.`)
  }
  if (!equalBytes(entry.publicKey, publicKeyFor(secretKey))) {
    throw new PolicyError('ERR_POLICY_CLIENT', `The client ${id} is registered under another key; use that one.`)
  }
  if (entry.revoked !== undefined || laterEvents.revokedClients.some((revoked) => equalBytes(revoked, client))) {
    throw new PolicyError('ERR_POLICY_REVOKED', `The client ${id} is revoked for ever; have an operator add a new one.`)
  }
}
