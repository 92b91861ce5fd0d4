/**
 * Changing who takes part, step by step, so that at no moment a failure of one replica stops the cluster: the operators
 * list the new replica among the cosigners, it joins as a learner, catches up, and becomes a voter; whom it replaces
 * leaves in the same change.
 *
 * Every step looks first whether it was done already, so a change that was interrupted is repeated with the same command.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { Operator } from '@cipherlog/client/operator'
import type { Cipherlog } from '@cipherlog/client'
import { CipherlogError, equalBytes, fromHex } from '@cipherlog/core'
import { type CosignerMember } from '@cipherlog/format'
import { type ClusterAdmin, type ClusterStatus } from './admin.ts'
import { type NodeAddress } from './node-files.ts'

/** A replica as the operators list it. */
export interface NewMember {
  readonly member: CosignerMember
  /** Of its answer key for this cluster, 64 bytes. */
  readonly answerPossession: Uint8Array
  readonly address: NodeAddress
}

export interface Progress {
  /** What is being done; `done` of `total` log entries once the replica catches up. */
  (step: 'list' | 'learn' | 'catch-up' | 'vote' | 'unlist' | 'leave', done?: number, total?: number): void
}

/** A replica that has not caught up after this time is not going to. */
const catchUpMsMax = 600_000
const pollMs = 200
/** Log entries that a learner may lack and still be taken for caught up; the leader checks for itself. */
const caughtUpEntries = 100

/** Lists a replica among the cosigners; `instead` leaves the list in the same event. */
export async function listCosigner(
  log: Cipherlog,
  added: NewMember | undefined,
  instead: Uint8Array | undefined,
): Promise<void> {
  const { registry } = await log.view.refresh()
  const present = registry.cosignerSets.at(-1)!.set.members
  const kept = present.filter(({ peerId }) => instead === undefined || !equalBytes(peerId, instead))
  const listed = added === undefined || kept.some(({ peerId }) => equalBytes(peerId, added.member.peerId))
  if (listed && kept.length === present.length) return
  await new Operator(log).cosignerSet({
    members: listed ? kept : [...kept, added.member],
    ...(added === undefined ? {} : { answerPossession: () => added.answerPossession }),
  })
}

/** A learner of the log, whose address the others learn by the change. */
export async function addLearner(admin: ClusterAdmin, address: NodeAddress): Promise<void> {
  const { configuration } = await admin.status()
  if ([...configuration.learners, ...configuration.voters].includes(address.peerId)) return
  await admin.changeMembership({
    transition: 'auto',
    changes: [{ type: 'addLearner', peer: address.peerId }],
    addresses: [address],
  })
}

/** Waits until the learner holds nearly everything that is committed. @throws CipherlogError `ERR_TIMEOUT` */
export async function waitUntilCaughtUp(admin: ClusterAdmin, peerId: string, progress: Progress): Promise<void> {
  const deadline = performance.now() + catchUpMsMax
  for (;;) {
    const { commitIndex, peers } = await admin.status()
    const matchIndex = peers.find((peer) => peer.peerId === peerId)?.matchIndex ?? 0
    if (matchIndex > 0 && commitIndex - matchIndex <= caughtUpEntries) return
    progress('catch-up', matchIndex, commitIndex)
    if (performance.now() > deadline) {
      const message = `${peerId} holds ${matchIndex} of ${commitIndex} entries after ${catchUpMsMax / 60_000} minutes; look into its log, then repeat the command.`
      throw new CipherlogError('ERR_TIMEOUT', message, { details: { peerId, matchIndex, commitIndex } })
    }
    await sleep(pollMs)
  }
}

/** Makes a voter of a learner; `instead` leaves in the same change. */
export async function promote(admin: ClusterAdmin, address: NodeAddress, instead?: string): Promise<void> {
  const { configuration } = await admin.status()
  const leaves = instead !== undefined && isMember(configuration, instead)
  if (configuration.voters.includes(address.peerId) && !leaves) return
  await admin.changeMembership({
    transition: 'auto',
    changes: [
      { type: 'addVoter', peer: address.peerId },
      ...(leaves ? [{ type: 'remove' as const, peer: instead }] : []),
    ],
    addresses: [address],
  })
}

/** Ends the part of a replica in the log. @param force - even if few would have the whole trail. */
export async function removeMember(admin: ClusterAdmin, peerId: string, force: boolean): Promise<void> {
  const { configuration } = await admin.status()
  if (!isMember(configuration, peerId)) return
  await admin.changeMembership({ transition: 'auto', changes: [{ type: 'remove', peer: peerId }], force })
}

/** Brings a new replica in, from nothing to a vote. `start` starts its process, if that is this host's to do. */
export async function bringIn(
  log: Cipherlog,
  admin: ClusterAdmin,
  added: NewMember,
  options: { readonly instead?: string; readonly start: () => Promise<void>; readonly progress: Progress },
): Promise<void> {
  const { instead, start, progress } = options
  progress('list')
  await listCosigner(log, added, instead === undefined ? undefined : fromHex(instead))
  await start()
  progress('learn')
  await addLearner(admin, added.address)
  await waitUntilCaughtUp(admin, added.address.peerId, progress)
  progress('vote')
  await promote(admin, added.address, instead)
}

function isMember({ voters, learners }: ClusterStatus['configuration'], peerId: string): boolean {
  return [...voters, ...learners].includes(peerId)
}
