/**
 * Rules of keysets and their versions (DESIGN §7): members with keys of their own, epochs one by one, fresh keys,
 * endorsed by a reader of the current version and checked by enough readers before use.
 *
 * That an X-Wing or BFV key is well formed, its members check before they sign `ready`; here only lengths.
 */
import { toHex } from '@cipherlog/core'
import { elgamalPopBytes, verifyElgamalPop } from '@cipherlog/crypto/evaluate/elgamal'
import { roles, suiteNames, suites, type KeyOperation, type KeyVersion, type Suite } from '@cipherlog/format'
import { checkKeyUses } from './check-client.ts'
import { endorses, type KeyVersionClaim, provesPossession, saysReady } from './claims.ts'
import { useOfReader } from './key-uses.ts'
import { currentVersion, type KeysetEntry, type KeyVersionEntry, readersOf } from './key-versions.ts'
import { refuse } from './refusal.ts'
import { type RegistryState, sealingKeyIds } from './registry-state.ts'

type Operation<T extends KeyOperation['type']> = Extract<KeyOperation, { type: T }>

/** What the version's content is checked against. */
type KeysetShape = Pick<KeysetEntry, 'id' | 'suite' | 'members' | 'readyMin'>

/** Bytes of a public key: a point, or an uncompressed SEAL public key, 113 + 16kN with all k primes. */
const publicKeyBytes: Readonly<Record<Exclude<Suite, 1>, number>> = { 2: 64, 3: 32_881, 4: 196_721, 5: 655_473 }

export function checkCreateKeyset(state: RegistryState, operation: Operation<'createKeyset'>): void {
  const { keyset: id, members, readyMin, version } = operation
  const suite = operation.suite as Suite
  if (state.keysets.has(toHex(id))) {
    refuse('ERR_REGISTRY_ID_USED', `The keyset id ${toHex(id)} is in use; choose a new one.`)
  }
  checkKeyUses(
    state,
    members.map(({ signingKey }) => useOfReader(signingKey)),
  )
  if (new Set(members.map(({ kemKey }) => toHex(kemKey))).size !== members.length) {
    refuse('ERR_REGISTRY_KEY_USED', 'Two members have the same X-Wing key; each member makes its own.')
  }
  for (const [index, { signingKey, possession }] of members.entries()) {
    if (!provesPossession(signingKey, roles.reader, state.cluster, possession)) {
      refuse('ERR_REGISTRY_POSSESSION', `Member ${index} has not proven possession; have it sign for this cluster.`)
    }
  }
  if (readyMin > members.length) {
    refuse('ERR_REGISTRY_READY', `${readyMin} of ${members.length} members can never be ready; lower readyMin.`)
  }
  checkVersion(state, { id, suite, members, readyMin }, 1, version)
  if (readersOf(suite, version).length !== members.length) {
    refuse('ERR_REGISTRY_KEY_VERSION', 'The first version must reach every member; add the missing keys or shares.')
  }
}

export function checkAddKeyVersion(state: RegistryState, operation: Operation<'addKeyVersion'>): void {
  const { keyEpoch, version, endorsement } = operation
  const keyset = keysetOf(state, operation.keyset)
  const next = keyset.versions.size + 1
  if (keyEpoch !== next) {
    refuse('ERR_REGISTRY_EPOCH', `The next epoch of the keyset is ${next}, not ${keyEpoch}; number the version so.`)
  }
  checkVersion(state, keyset, keyEpoch, version)
  const [member, signature] = endorsement
  const current = currentVersion(keyset)
  const claim: KeyVersionClaim = { cluster: state.cluster, keyset: keyset.id, keyEpoch, version }
  if (
    !readersOf(keyset.suite, current.version).includes(member) ||
    !endorses(keyset.members[member]!.signingKey, claim, signature)
  ) {
    refuse(
      'ERR_REGISTRY_ENDORSEMENT',
      `No reader of version ${current.keyEpoch} has endorsed version ${keyEpoch}; have one check and sign it.`,
    )
  }
}

export function checkActivate(state: RegistryState, operation: Operation<'activateKeyVersion'>): void {
  const { keyEpoch, ready } = operation
  const keyset = keysetOf(state, operation.keyset)
  const { version, ...entry } = versionOf(keyset, keyEpoch)
  if (entry.compromised !== undefined || entry.activatedBy !== undefined) {
    refuse('ERR_REGISTRY_KEY_STATE', `Version ${keyEpoch} is not pending; only a pending version is activated, once.`)
  }
  const current = currentVersion(keyset)
  if (current.activatedBy !== undefined && current.keyEpoch > keyEpoch) {
    refuse('ERR_REGISTRY_KEY_STATE', `Version ${current.keyEpoch} came after ${keyEpoch}; add a newer version instead.`)
  }
  const claim: KeyVersionClaim = { cluster: state.cluster, keyset: keyset.id, keyEpoch, version }
  const readers = readersOf(keyset.suite, version)
  const signed = new Set<number>()
  for (const [member, signature] of ready) {
    if (
      signed.has(member) ||
      !readers.includes(member) ||
      !saysReady(keyset.members[member]!.signingKey, claim, signature)
    ) {
      refuse('ERR_REGISTRY_READY', `The ready signature of member ${member} is repeated, foreign or bad; leave it out.`)
    }
    signed.add(member)
  }
  if (signed.size < keyset.readyMin) {
    refuse(
      'ERR_REGISTRY_READY',
      `${signed.size} members are ready, ${keyset.readyMin} must be; collect more signatures.`,
    )
  }
}

export function checkCompromise(state: RegistryState, operation: Operation<'compromiseKeyVersion'>): void {
  const { compromised } = versionOf(keysetOf(state, operation.keyset), operation.keyEpoch)
  if (compromised !== undefined) {
    refuse('ERR_REGISTRY_KEY_STATE', `Version ${operation.keyEpoch} is compromised already; nothing is to be done.`)
  }
}

function keysetOf(state: RegistryState, id: Uint8Array): KeysetEntry {
  const keyset = state.keysets.get(toHex(id))
  if (keyset === undefined) refuse('ERR_REGISTRY_UNKNOWN', `There is no keyset ${toHex(id)}; create it first.`)
  return keyset
}

function versionOf(keyset: KeysetEntry, keyEpoch: number): KeyVersionEntry {
  const entry = keyset.versions.get(keyEpoch)
  if (entry === undefined) {
    refuse('ERR_REGISTRY_UNKNOWN', `The keyset ${toHex(keyset.id)} has no version ${keyEpoch}; add it first.`)
  }
  return entry
}

/** Content of a version: what its suite needs, nothing else, for members that exist, with keys never used before. */
function checkVersion(state: RegistryState, keyset: KeysetShape, keyEpoch: number, version: KeyVersion): void {
  if (keyset.suite === suites.hpkeXwing) checkMemberKeys(keyset, version)
  else checkSharedKey(state, keyset, keyset.suite, keyEpoch, version)
  const keys = sealingKeyIds(version)
  if (new Set(keys).size !== keys.length || keys.some((key) => state.sealingKeys.has(key))) {
    refuse('ERR_REGISTRY_KEY_USED', 'A key of this version is or was in use; make fresh keys for every version.')
  }
  const readers = readersOf(keyset.suite, version)
  if (readers.length < keyset.readyMin) {
    refuse(
      'ERR_REGISTRY_KEY_VERSION',
      `The version reaches ${readers.length} members, ${keyset.readyMin} must become ready; include more members.`,
    )
  }
}

function checkMemberKeys({ members }: KeysetShape, { memberKeys, publicKey, possession, shares }: KeyVersion): void {
  if (memberKeys === undefined || publicKey !== undefined || possession !== undefined || shares !== undefined) {
    refuse('ERR_REGISTRY_KEY_VERSION', 'A version for hpke-xwing is a list of member keys and nothing else.')
  }
  checkMembers(memberKeys, members.length)
}

function checkSharedKey(
  state: RegistryState,
  { id, members }: KeysetShape,
  suite: Exclude<Suite, 1>,
  keyEpoch: number,
  { memberKeys, publicKey, possession, shares = [] }: KeyVersion,
): void {
  if (memberKeys !== undefined || publicKey?.length !== publicKeyBytes[suite]) {
    refuse(
      'ERR_REGISTRY_KEY_VERSION',
      `A version for ${suiteNames[suite]} is one public key of ${publicKeyBytes[suite]} bytes, uncompressed, and shares.`,
    )
  }
  if (suite === suites.elgamalBjj) {
    const statement = { cluster: state.cluster, keyset: id, keyEpoch, publicKey }
    if (possession?.length !== elgamalPopBytes || !verifyElgamalPop(statement, possession)) {
      refuse(
        'ERR_REGISTRY_POSSESSION',
        'The ElGamal key is not valid or comes without proof of possession for this keyset and epoch; prove it anew.',
      )
    }
  } else if (possession !== undefined) {
    refuse('ERR_REGISTRY_KEY_VERSION', 'A BFV key takes no proof of possession; leave it out.')
  }
  if (shares.length === 0 && members.length > 1) {
    refuse('ERR_REGISTRY_KEY_VERSION', 'The secret of the version reaches nobody; seal a share to each reader.')
  }
  checkMembers(shares, members.length)
}

/** Members named in a version exist and are named once. */
function checkMembers(named: readonly { readonly member: number }[], members: number): void {
  const indexes = named.map(({ member }) => member)
  if (indexes.some((index) => index >= members) || new Set(indexes).size !== indexes.length) {
    refuse('ERR_REGISTRY_KEY_VERSION', `The version names a member twice or one beyond ${members - 1}; name each once.`)
  }
}
