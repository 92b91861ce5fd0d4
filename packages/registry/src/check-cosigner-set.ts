/** Rules of cosigner sets: at most 7 replicas, a majority, keys of their own, and a transition that fits a note. */
import { toHex } from '@cipherlog/core'
import { roles, type KeyOperation } from '@cipherlog/format'
import { checkKeyUses } from './check-client.ts'
import { provesPossession } from './claims.ts'
import { cosignersOf, problemOfCosignerSet, transitionCosignersMax } from './cosigner-sets.ts'
import { usesOfCosignerSet } from './key-uses.ts'
import { refuse } from './refusal.ts'
import { newestCosignerSet, type RegistryState } from './registry-state.ts'

/** Log and cosigner keys prove themselves by the first checkpoint; answer keys prove possession here, all of them. */
export function checkCosignerSet(
  state: Pick<RegistryState, 'cluster' | 'keyUses' | 'cosignerSets'>,
  { set, possessions }: Extract<KeyOperation, { type: 'cosignerSet' }>,
): void {
  const together = cosignersOf(newestCosignerSet(state), set)
  if (together > transitionCosignersMax) {
    refuse(
      'ERR_REGISTRY_COSIGNERS',
      `Old and new set have ${together} cosigner keys together, a checkpoint has room for ${transitionCosignersMax}; exchange the replicas in steps.`,
    )
  }
  checkNewCosigners(state, { set, possessions })
}

/** A set by itself: its size and quorum, keys that nothing else has or had, answer keys that are at hand. */
export function checkNewCosigners(
  state: Pick<RegistryState, 'cluster' | 'keyUses'>,
  { set, possessions }: Omit<Extract<KeyOperation, { type: 'cosignerSet' }>, 'type'>,
): void {
  const problem = problemOfCosignerSet(set)
  if (problem !== undefined) refuse('ERR_REGISTRY_COSIGNERS', problem)
  checkKeyUses(state, usesOfCosignerSet(set))
  if (possessions.length !== set.members.length) {
    refuse('ERR_REGISTRY_POSSESSION', `Expected ${set.members.length} proofs of possession, one for each answer key.`)
  }
  for (const [index, { answerKey, peerId }] of set.members.entries()) {
    const proof = possessions.find(([member]) => member === index)
    if (proof === undefined || !provesPossession(answerKey, roles.answer, state.cluster, proof[1])) {
      refuse(
        'ERR_REGISTRY_POSSESSION',
        `The replica ${toHex(peerId)} has not proven possession of its answer key; have it sign for this cluster.`,
      )
    }
  }
}
