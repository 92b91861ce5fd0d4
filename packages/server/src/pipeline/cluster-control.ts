/** Running the cluster: changes of membership, checked before they are proposed, and who leads. */
import { CipherlogError, NotLeaderError, ProposalOutcomeUnknownError, toHex, type Clock } from '@cipherlog/core'
import { type Ledger } from '@cipherlog/machine'
import { type ClusterApi, type NodeStatus, type RequestedChange } from '../node-api.ts'
import { type Configuration, type Replicator } from '../replicator.ts'
import { checkMembershipChange } from './membership-checks.ts'

/** How long a change may take to be over, a joint configuration left included. */
const changeMsMax = 20_000
const pollMs = 20

export interface ClusterControlOptions {
  readonly selfId: string
  readonly replicator: Replicator
  /** The one in force. */
  readonly ledger: () => Ledger
  readonly status: () => NodeStatus
  /** First leaf of a replica's trail, this one's own included; undefined: not known. */
  readonly trailFromOf: (peerId: string) => number | undefined
  readonly clock: Clock
}

export class ClusterControl implements ClusterApi {
  readonly #options: ClusterControlOptions

  constructor(options: ClusterControlOptions) {
    this.#options = options
  }

  status(): NodeStatus {
    return this.#options.status()
  }

  async changeMembership({
    force,
    ...change
  }: RequestedChange): Promise<{ readonly index: number; readonly configuration: Configuration }> {
    const { replicator, ledger, selfId, trailFromOf } = this.#options
    this.#requireLeading()
    const { configuration, members } = replicator.status()
    const { set } = ledger().registry.cosignerSets.at(-1)!
    checkMembershipChange(
      {
        configuration,
        replica: (peerId) => ({
          alive: peerId === selfId || members[peerId]?.alive === true,
          trailFrom: trailFromOf(peerId),
        }),
        cosigners: { peerIds: set.members.map(({ peerId }) => toHex(peerId)), quorum: set.quorum },
      },
      change,
      force,
    )
    const outcome = await replicator.proposeChange(change)
    switch (outcome.outcome) {
      case 'committed':
        return { index: outcome.index, configuration: await this.#settled(outcome.index, change) }
      case 'unknown':
        throw new ProposalOutcomeUnknownError()
      case 'dropped':
        if (outcome.reason === 'not-leader') throw new NotLeaderError(outcome.leaderId)
        throw new CipherlogError('ERR_BUSY', 'The leader takes no change at this moment; try again soon.')
      case 'refused':
        throw refused(outcome.reason)
    }
  }

  /** The configuration once the change is over. */
  async #settled(index: number, { transition, changes }: Omit<RequestedChange, 'force'>): Promise<Configuration> {
    const { replicator, clock } = this.#options
    const staysJoint = transition === 'jointExplicit' && changes.length > 0
    const deadline = clock.monotonic() + changeMsMax
    for (;;) {
      const { configuration, commitIndex } = replicator.status()
      const isJoint = configuration.votersOutgoing.length > 0
      if (commitIndex >= index && isJoint === staysJoint) return configuration
      if (clock.monotonic() > deadline) {
        throw new CipherlogError('ERR_TIMEOUT', 'The change is committed, and not over yet; look at the status.', {
          details: { index },
        })
      }
      await new Promise((resolve) => setTimeout(resolve, pollMs))
    }
  }

  async transferLeadership(to: string | undefined): Promise<string> {
    const { replicator, selfId } = this.#options
    this.#requireLeading()
    const { configuration, members } = replicator.status()
    const target =
      to ??
      configuration.voters
        .filter((peer) => peer !== selfId && members[peer]?.alive === true)
        .sort((a, b) => members[b]!.matchIndex - members[a]!.matchIndex)[0]
    if (target === undefined) {
      throw new CipherlogError('ERR_TRANSFER_FAILED', 'There is no other voter that answers; bring one back first.')
    }
    await replicator.transferLeadership(target)
    return target
  }

  stepDown(): Promise<void> {
    this.#requireLeading()
    this.#options.replicator.stepDown()
    return Promise.resolve()
  }

  #requireLeading(): void {
    const { replicator } = this.#options
    if (replicator.leadingSince() === undefined) throw new NotLeaderError(replicator.status().leaderId)
  }
}

function refused(reason: 'pending' | 'invalid' | 'quorum' | 'behind'): CipherlogError {
  switch (reason) {
    case 'pending':
      return new CipherlogError('ERR_MEMBERSHIP_PENDING', 'A change is under way; wait until it is over.')
    case 'invalid':
      return new CipherlogError('ERR_MEMBERSHIP_INVALID', 'The change leads to no configuration; look at the status.')
    case 'quorum':
      return new CipherlogError(
        'ERR_MEMBERSHIP_QUORUM',
        'Too few of the voters after the change have been heard from lately; bring them back first.',
      )
    case 'behind':
      return new CipherlogError(
        'ERR_MEMBERSHIP_BEHIND',
        'The replica lags behind the log; add it as a learner and wait until it has caught up.',
      )
  }
}
