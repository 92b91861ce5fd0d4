/**
 * What a leader checks before it proposes a change of membership: that the group would go on without whom it removes
 * and with whom it adds. The core decides on its own what Raft demands; here is what a Raft does not know: who may take
 * part, whose signatures a checkpoint needs, and who has the whole trail.
 *
 * All of it is what this leader knows at this moment, so it guards against mistakes, not against faults that follow.
 */
import { CipherlogError } from '@cipherlog/core'
import { cosignersMax } from '@cipherlog/format'
import { type Configuration, type MembershipChange } from '../replicator.ts'

/** What the leader knows of a replica. */
export interface KnownReplica {
  /** Heard from lately; true for the leader. */
  readonly alive: boolean
  /** First leaf whose trail files it has, by its own word; undefined: it has not said. */
  readonly trailFrom: number | undefined
}

export interface MembershipView {
  readonly configuration: Configuration
  readonly replica: (peerId: string) => KnownReplica
  /** The newest cosigner set on the log. */
  readonly cosigners: { readonly peerIds: readonly string[]; readonly quorum: number }
}

/** Who votes and who learns once `change` is over, a joint configuration left behind. */
export function afterChange(
  { voters, learners, learnersNext }: Configuration,
  { changes }: Pick<MembershipChange, 'changes'>,
): { readonly voters: ReadonlySet<string>; readonly learners: ReadonlySet<string> } {
  const next = { voters: new Set(voters), learners: new Set([...learners, ...learnersNext]) }
  for (const { type, peer } of changes) {
    next.voters.delete(peer)
    next.learners.delete(peer)
    if (type === 'addVoter') next.voters.add(peer)
    else if (type === 'addLearner') next.learners.add(peer)
  }
  return next
}

/**
 * @param force - go ahead although less than a majority would have the whole trail.
 * @throws CipherlogError `ERR_MEMBERSHIP_INVALID`, `ERR_MEMBERSHIP_PENDING`, `ERR_MEMBERSHIP_UNLISTED`,
 * `ERR_MEMBERSHIP_QUORUM`, `ERR_MEMBERSHIP_COSIGNERS`, `ERR_MEMBERSHIP_TRAIL`
 */
export function checkMembershipChange(view: MembershipView, change: MembershipChange, force: boolean): void {
  const { configuration, cosigners, replica } = view
  const { changes } = change
  const isJoint = configuration.votersOutgoing.length > 0
  if (changes.length === 0) {
    if (!isJoint) throw invalid('names no change, and there is no joint configuration to leave')
    return
  }
  if (isJoint) {
    throw new CipherlogError(
      'ERR_MEMBERSHIP_PENDING',
      'A change is under way: the configuration is joint; wait until it is left, or leave it by a change without changes.',
    )
  }
  checkNames(view, change)
  const next = afterChange(configuration, change)
  if (next.voters.size === 0) throw invalid('leaves no voter')
  if (next.voters.size > cosignersMax) throw invalid(`leaves ${next.voters.size} voters; at most ${cosignersMax} vote`)

  const aliveAmong = (peers: Iterable<string>): string[] => [...peers].filter((peer) => replica(peer).alive)
  const majority = Math.floor(next.voters.size / 2) + 1
  const alive = aliveAmong(next.voters)
  if (alive.length < majority) {
    throw new CipherlogError(
      'ERR_MEMBERSHIP_QUORUM',
      `Of the ${next.voters.size} voters there would be, ${alive.length} can be reached and ${majority} are needed; bring the others back first.`,
      { details: { voters: [...next.voters], reachable: alive } },
    )
  }
  // Learners cosign too: they compute the same tree.
  const members = [...next.voters, ...next.learners]
  const cosigning = aliveAmong(members).filter((peer) => cosigners.peerIds.includes(peer))
  if (cosigning.length < cosigners.quorum) {
    throw new CipherlogError(
      'ERR_MEMBERSHIP_COSIGNERS',
      `A checkpoint needs ${cosigners.quorum} cosigners of the newest set, and ${cosigning.length} of them would remain; change the cosigner set first.`,
      { details: { cosigners: cosigners.peerIds, remaining: cosigning } },
    )
  }
  const whole = [...next.voters].filter((peer) => replica(peer).trailFrom === 0)
  if (!force && whole.length < majority) {
    throw new CipherlogError(
      'ERR_MEMBERSHIP_TRAIL',
      `${whole.length} of ${next.voters.size} voters would have the whole trail and ${majority} should; wait until the others have fetched it, or force the change.`,
      { details: { whole } },
    )
  }
}

function checkNames({ configuration, cosigners }: MembershipView, { changes, addresses }: MembershipChange): void {
  const members = [configuration.voters, configuration.learners].flat()
  const named = new Set<string>()
  for (const { type, peer } of changes) {
    if (named.has(peer)) throw invalid(`names ${peer} twice`)
    named.add(peer)
    if (type === 'remove') {
      if (!members.includes(peer)) throw invalid(`removes ${peer}, which has no part in the group`)
      continue
    }
    if (type === 'addVoter' && configuration.voters.includes(peer)) throw invalid(`adds ${peer}, which votes already`)
    if (type === 'addLearner' && members.includes(peer)) throw invalid(`adds ${peer}, which takes part already`)
    if (!cosigners.peerIds.includes(peer)) {
      throw new CipherlogError(
        'ERR_MEMBERSHIP_UNLISTED',
        `${peer} is not in the newest cosigner set; operators list a replica there before it may take part.`,
        { details: { peerId: peer } },
      )
    }
  }
  const stray = addresses.find(({ peerId }) => !changes.some(({ type, peer }) => type !== 'remove' && peer === peerId))
  if (stray !== undefined) throw invalid(`has an address of ${stray.peerId}, which it does not add`)
}

const invalid = (problem: string): CipherlogError =>
  new CipherlogError('ERR_MEMBERSHIP_INVALID', `The change ${problem}.`)
