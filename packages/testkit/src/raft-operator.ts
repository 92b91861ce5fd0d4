/**
 * Who changes the membership of a simulated Raft cluster: replaces peers whose disks are gone, leaves joint
 * configurations that do not leave by themselves, and otherwise adds, removes, promotes and demotes at random.
 */
import { type ConfChange, type ConfChangeSingle, type PeerId } from '@cipherlog/raft'
import { type Prng } from './prng.ts'
import { type RaftNetwork } from './raft-network.ts'

const votersMax = 7
const transitions = ['auto', 'jointImplicit', 'jointExplicit'] as const

/** Proposes one change at a leader, if there is one. `restless`: also changes that nothing calls for. */
export function operate(network: RaftNetwork, prng: Prng, restless: boolean): void {
  const { leaders, confState, wipedVoters } = network
  if (leaders.length === 0) return
  const leader = prng.pick(leaders)
  const change =
    confState.votersOutgoing.length > 0
      ? leave(confState.autoLeave, restless && prng.chance(0.1))
      : wipedVoters.length > 0
        ? replacement(network, wipedVoters[0]!)
        : restless
          ? random(network, prng)
          : undefined
  if (change !== undefined) network.proposeConf(leader, change)
}

/** Also of a configuration that leaves by itself, now and then: the core must take it or refuse it. */
function leave(autoLeave: boolean, anyway: boolean): ConfChange | undefined {
  return autoLeave && !anyway ? undefined : { transition: 'auto', changes: [] }
}

/** The peer that now runs in the place of `gone`: first a learner, then one joint change puts it in. */
function replacement({ ids, confState }: RaftNetwork, gone: PeerId): ConfChange {
  const now = ids.find((id) => id.slice(0, 24) === gone.slice(0, 24))!
  if (!confState.learners.includes(now)) return { transition: 'auto', changes: [{ type: 'addLearner', peer: now }] }
  const changes: ConfChangeSingle[] = [
    { type: 'remove', peer: gone },
    { type: 'addVoter', peer: now },
  ]
  return { transition: 'jointImplicit', changes }
}

function random({ ids, confState }: RaftNetwork, prng: Prng): ConfChange | undefined {
  const count = prng.pick([1, 1, 1, 2, 2, 3])
  const changes: ConfChangeSingle[] = []
  const voters = new Set(confState.voters)
  for (const peer of prng.shuffle(ids).slice(0, count)) {
    const type = prng.pick(['addVoter', 'addVoter', 'addVoter', 'addLearner', 'remove'] as const)
    // Below three voters no disk may be lost any more, which would test less.
    if (type !== 'addVoter' && voters.has(peer) && voters.size <= 3) continue
    if (type === 'addVoter') voters.add(peer)
    else voters.delete(peer)
    changes.push({ type, peer })
  }
  // Peers of wiped places that were learners, or outgoing learners, are left behind: forget them now and then.
  const stale = confState.learners.find((id) => !ids.includes(id))
  if (stale !== undefined) changes.push({ type: 'remove', peer: stale })
  if (changes.length === 0 || voters.size > votersMax) return undefined
  return { transition: prng.pick(transitions), changes }
}
