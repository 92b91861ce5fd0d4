/**
 * The proof of possession of a replica's answer key, found again where the log has it: what it signs (cluster, role,
 * key) is the same for every cosigner set, so a set that keeps a replica needs no new signature of it.
 */
import { decode, equalBytes } from '@cipherlog/core'
import { roles, signedGenesis } from '@cipherlog/format'
import { type CosignerSetEntry } from './cosigner-sets.ts'
import { decodeKeyEvent } from './key-event.ts'

/**
 * @param sets - all that there were.
 * @param signedEvent - the bytes of event `number`; 0 is the genesis.
 * @returns 64 bytes, or undefined if no set has listed this key.
 */
export function findAnswerPossession(
  answerKey: Uint8Array,
  sets: readonly CosignerSetEntry[],
  signedEvent: (number: number) => Uint8Array,
): Uint8Array | undefined {
  for (const { set, eventNumber } of sets) {
    const index = set.members.findIndex((member) => equalBytes(member.answerKey, answerKey))
    if (index >= 0) return possessions(signedEvent(eventNumber), eventNumber).get(index)
  }
  return undefined
}

/** Signatures by number of the member, of an event that was checked when it was applied. */
function possessions(signed: Uint8Array, eventNumber: number): ReadonlyMap<number, Uint8Array> {
  if (eventNumber === 0) {
    const [, all] = decode(signedGenesis, signed)
    return new Map(all.flatMap(([role, index, signature]) => (role === roles.answer ? [[index, signature]] : [])))
  }
  const { operation } = decodeKeyEvent(signed).event
  return new Map(operation.type === 'cosignerSet' ? operation.possessions : [])
}
