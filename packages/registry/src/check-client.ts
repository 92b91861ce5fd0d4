/** Rules of clients: added once with a key of their own, granted, revoked for ever. */
import { toHex } from '@cipherlog/core'
import { roles, type KeyOperation } from '@cipherlog/format'
import { checkGrantsKeepWritersTogether } from './bfv-writers.ts'
import { provesPossession } from './claims.ts'
import { type KeyUse, problemOfKeyUses, useOfClient } from './key-uses.ts'
import { refuse } from './refusal.ts'
import { type RegistryState } from './registry-state.ts'

type Operation<T extends KeyOperation['type']> = Extract<KeyOperation, { type: T }>

export function checkAddClient(state: RegistryState, operation: Operation<'addClient'>): void {
  const { client, publicKey, possession, grants } = operation
  if (state.clients.has(toHex(client))) {
    refuse('ERR_REGISTRY_ID_USED', `The client id ${toHex(client)} is or was in use; choose a new one.`)
  }
  checkKeyUses(state, [useOfClient(client, publicKey)])
  if (!provesPossession(publicKey, roles.client, state.cluster, possession)) {
    refuse('ERR_REGISTRY_POSSESSION', `The client has not proven possession of its key; have it sign for this cluster.`)
  }
  checkGrantsKeepWritersTogether(state, grants)
}

export function checkSetGrants(state: RegistryState, operation: Operation<'setGrants'>): void {
  checkLiveClient(state, operation.client)
  checkGrantsKeepWritersTogether(state, operation.grants)
}

export function checkRevokeClient(state: RegistryState, operation: Operation<'revokeClient'>): void {
  checkLiveClient(state, operation.client)
}

/** @throws {@link RefusedError} `ERR_REGISTRY_PUBLIC_KEY`, `ERR_REGISTRY_KEY_USED`. */
export function checkKeyUses(state: Pick<RegistryState, 'keyUses'>, wanted: readonly KeyUse[]): void {
  const problem = problemOfKeyUses(state.keyUses, wanted)
  if (problem === undefined) return
  refuse(problem.kind === 'used' ? 'ERR_REGISTRY_KEY_USED' : 'ERR_REGISTRY_PUBLIC_KEY', problem.message, problem.cause)
}

function checkLiveClient(state: RegistryState, id: Uint8Array): void {
  const entry = state.clients.get(toHex(id))
  if (entry === undefined) refuse('ERR_REGISTRY_UNKNOWN', `There is no client ${toHex(id)}; add it first.`)
  if (entry.revoked !== undefined) {
    refuse('ERR_REGISTRY_REVOKED', `The client ${toHex(id)} is revoked for ever; add a new client.`)
  }
}
