/**
 * What the key events add up to, and how each changes it. Entries are never changed in place.
 *
 * Invariant: a function of genesis and events alone, beside the log times and leaves at which they took effect.
 */
import { toHex } from '@cipherlog/core'
import { sha256 } from '@cipherlog/crypto/hash'
import {
  type Circuit,
  type CosignerSet,
  type Genesis,
  type Grant,
  type GroupStart,
  type KeyOperation,
  type KeyVersion,
  type NamespaceDefinition,
  type Suite,
} from '@cipherlog/format'
import { type CosignerSetEntry } from './cosigner-sets.ts'
import { type KeyUse, useOfClient, useOfReader, usesOfCosignerSet, usesOfGenesis } from './key-uses.ts'
import {
  type Ending,
  type EventPlace,
  type KeysetEntry,
  withActivated,
  withCompromised,
  withVersion,
} from './key-versions.ts'

export interface ClientEntry {
  /** 16 bytes. */
  readonly id: Uint8Array
  /** Ed25519, 32 bytes. */
  readonly publicKey: Uint8Array
  readonly grants: readonly Grant[]
  readonly label?: string | undefined
  /** Effective for every leaf after that of the event. */
  readonly revoked?: Ending
}

/** What checks may read. */
export interface RegistryState {
  readonly cluster: Uint8Array
  readonly genesis: Genesis
  /** By hex of the id. */
  readonly clients: ReadonlyMap<string, ClientEntry>
  /** By hex of the id. */
  readonly keysets: ReadonlyMap<string, KeysetEntry>
  readonly namespaces: ReadonlyMap<string, NamespaceDefinition>
  readonly rulesVersion: number
  /** Accepted ones, of the genesis and later. */
  readonly circuits: readonly Circuit[]
  /** In order, genesis first. */
  readonly cosignerSets: readonly CosignerSetEntry[]
  /** Every Ed25519 key ever registered. */
  readonly keyUses: ReadonlyMap<string, string>
  /** Hex of SHA-256 of every public key that a key version ever had. */
  readonly sealingKeys: ReadonlySet<string>
}

export interface MutableRegistryState extends RegistryState {
  readonly clients: Map<string, ClientEntry>
  readonly keysets: Map<string, KeysetEntry>
  readonly namespaces: Map<string, NamespaceDefinition>
  rulesVersion: number
  readonly circuits: Circuit[]
  readonly cosignerSets: CosignerSetEntry[]
  readonly keyUses: Map<string, string>
  readonly sealingKeys: Set<string>
}

/** The state that a checked genesis makes. */
export function stateOfGenesis(cluster: Uint8Array, genesis: Genesis): MutableRegistryState {
  const state: MutableRegistryState = {
    cluster,
    genesis,
    clients: new Map(),
    keysets: new Map(),
    namespaces: new Map(),
    rulesVersion: genesis.rulesVersion,
    circuits: [...genesis.circuits],
    cosignerSets: [{ set: genesis.cosigners, generation: 0, first: true, eventNumber: 0, eventLeaf: 0 }],
    keyUses: new Map(),
    sealingKeys: new Set(),
  }
  claimKeys(state, usesOfGenesis(genesis))
  return state
}

/** The newest cosigner set, whether its transition is over or not. */
export function newestCosignerSet(state: Pick<RegistryState, 'cosignerSets'>): CosignerSet {
  return state.cosignerSets.at(-1)!.set
}

/** Ids under which the public keys of a version are remembered. */
export function sealingKeyIds({ memberKeys, publicKey }: KeyVersion): string[] {
  const keys = memberKeys?.map(({ key }) => key) ?? []
  return (publicKey === undefined ? keys : [...keys, publicKey]).map((key) => toHex(sha256(key)))
}

/** Carries out an operation that has passed every check. @throws TypeError if a cosigner set comes without its leaf. */
export function applyOperation(state: MutableRegistryState, operation: KeyOperation, place: EventPlace): void {
  switch (operation.type) {
    case 'addClient': {
      const { client: id, publicKey, grants, label } = operation
      state.clients.set(toHex(id), { id, publicKey, grants, label })
      return claimKeys(state, [useOfClient(id, publicKey)])
    }
    case 'setGrants': {
      const entry = state.clients.get(toHex(operation.client))!
      state.clients.set(toHex(entry.id), { ...entry, grants: operation.grants })
      return
    }
    case 'revokeClient': {
      const entry = state.clients.get(toHex(operation.client))!
      state.clients.set(toHex(entry.id), { ...entry, revoked: ending(place, operation.reason) })
      return
    }
    case 'createKeyset': {
      const { keyset: id, members, readyMin, label, version } = operation
      const keyset: KeysetEntry = { id, suite: operation.suite as Suite, members, readyMin, label, versions: new Map() }
      state.keysets.set(toHex(id), withVersion(keyset, version, place))
      claimKeys(
        state,
        members.map(({ signingKey }) => useOfReader(signingKey)),
      )
      for (const key of sealingKeyIds(version)) state.sealingKeys.add(key)
      return
    }
    case 'addKeyVersion': {
      changeKeyset(state, operation.keyset, (keyset) => withVersion(keyset, operation.version, place))
      for (const key of sealingKeyIds(operation.version)) state.sealingKeys.add(key)
      return
    }
    case 'activateKeyVersion': {
      const { keyEpoch, graceMs } = operation
      return changeKeyset(state, operation.keyset, (keyset) => withActivated(keyset, keyEpoch, graceMs, place))
    }
    case 'compromiseKeyVersion': {
      const { keyEpoch, reason } = operation
      const change = (keyset: KeysetEntry) => withCompromised(keyset, keyEpoch, ending(place, reason))
      return changeKeyset(state, operation.keyset, change)
    }
    case 'createNamespace': {
      const { type: _, ...definition } = operation
      state.namespaces.set(definition.name, definition)
      return
    }
    case 'cosignerSet': {
      if (place.leafIndex === undefined) throw new TypeError('a cosigner set takes effect at a leaf; say which')
      const { generation } = state.cosignerSets.at(-1)!
      const { number: eventNumber, leafIndex: eventLeaf } = place
      state.cosignerSets.push({ set: operation.set, generation, first: false, eventNumber, eventLeaf })
      return claimKeys(state, usesOfCosignerSet(operation.set))
    }
    case 'setRules': {
      state.rulesVersion = operation.rulesVersion
      state.circuits.push(...(operation.circuits ?? []))
      return
    }
  }
}

/** Begins a generation: its group start sets the cosigners, everything else goes on. */
export function applyGroupStart(
  state: MutableRegistryState,
  { generation, cosigners, registryHead }: GroupStart,
): void {
  const eventNumber = registryHead.number
  state.cosignerSets.push({ set: cosigners, generation, first: true, eventNumber, eventLeaf: 0 })
  claimKeys(state, usesOfCosignerSet(cosigners))
}

function changeKeyset(state: MutableRegistryState, id: Uint8Array, change: (keyset: KeysetEntry) => KeysetEntry): void {
  state.keysets.set(toHex(id), change(state.keysets.get(toHex(id))!))
}

function claimKeys(state: MutableRegistryState, uses: readonly KeyUse[]): void {
  for (const { publicKey, use } of uses) state.keyUses.set(toHex(publicKey), use)
}

function ending({ number, leafIndex }: EventPlace, reason: string): Ending {
  return { number, leafIndex, reason }
}
