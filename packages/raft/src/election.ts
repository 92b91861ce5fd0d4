/**
 * Who leads: timeouts, campaigns, votes, and the changes of role (Raft §3.4, §3.6.1, §9.6).
 *
 * Invariants: the term never decreases; a vote is given once per term and leaves once it is durable; only a voter with
 * every committed change of membership applied campaigns; a candidate counts its own vote once that is durable.
 */
import { invariant } from '@cipherlog/core'
import { isVoter } from './confchange.ts'
import { type Core } from './core.ts'
import { type PeerId } from './membership.ts'
import { type PreVoteMessage, type PreVoteRespMessage, type VoteMessage, type VoteRespMessage } from './messages.ts'
import { termMax } from './numbers.ts'
import { jointVoteResult } from './quorum.ts'

export interface ElectionDump {
  readonly elapsed: number
  readonly timeout: number
  readonly votes: readonly (readonly [PeerId, boolean])[]
}

export class Election {
  readonly #core: Core
  /** Ticks since the leader was heard, or the last campaign began; on a leader, since it last checked its quorum. */
  elapsed = 0
  #timeout = 0
  /** Answers of this campaign. */
  readonly #votes = new Map<PeerId, boolean>()

  constructor(core: Core) {
    this.#core = core
  }

  resetTimer(): void {
    this.elapsed = 0
    const { electionTicks, random } = this.#core.config
    this.#timeout = electionTicks + Math.floor(random() * electionTicks)
  }

  /** A tick of anyone but a leader. */
  tick(): void {
    this.elapsed++
    if (!this.#promotable() || (this.elapsed < this.#timeout && !this.#alone())) return
    this.resetTimer()
    this.campaign('election')
  }

  /** A leader stops for want of disk or quorum, or somebody else leads, or may. */
  becomeFollower(term: number, leaderId: PeerId | undefined): void {
    const core = this.#core
    const led = core.role === 'leader'
    this.#reset(term)
    core.role = 'follower'
    core.leaderId = leaderId
    core.reads.fail()
    if (led) core.transfer.ledNoMore()
  }

  /** The host wants it now. Where the leader reads by lease, our answer to its heartbeat promised to wait. */
  campaignNow(): void {
    if (this.#core.config.leaseMs > 0 && this.hearsLeader) return
    this.campaign('election')
  }

  /**
   * Asks for votes if this replica may. A transfer asks nobody beforehand: it is no return from a partition, and the
   * leader wants it.
   */
  campaign(why: 'election' | 'transfer'): void {
    const core = this.#core
    if (core.role === 'leader' || !this.#promotable()) return
    // A change that is committed and not applied here may have taken the vote from us, or given others theirs.
    if (core.reconfiguration.hasUnapplied) return
    // Our own vote could not become durable, so we would only disturb the others.
    if (this.diskStalled) return
    if (core.term >= termMax) return
    if (why === 'transfer' || !core.config.preVote) return this.#becomeCandidate(why === 'transfer')
    core.role = 'preCandidate'
    core.leaderId = undefined
    this.#votes.clear()
    this.#votes.set(core.id, true)
    for (const to of this.#others()) {
      core.out.send({ type: 'preVote', to, ...this.#request(core.term + 1) })
    }
    this.#countVotes()
  }

  /**
   * Votes are refused while a leader is known to be alive (Raft §4.2.3); a leader hears itself. Where the leader reads
   * by lease, a replica that has just started may have promised a silence that it does not remember.
   */
  get hearsLeader(): boolean {
    const { config, leaderId, ticks } = this.#core
    if (!config.checkQuorum) return false
    return (
      (leaderId !== undefined && this.elapsed < config.electionTicks) ||
      (config.leaseMs > 0 && ticks < config.electionTicks)
    )
  }

  get diskStalled(): boolean {
    const { config, writes, ticks } = this.#core
    const oldest = writes.oldestTick
    return config.diskStallTicks > 0 && oldest !== undefined && ticks - oldest >= config.diskStallTicks
  }

  handleRequest(message: PreVoteMessage | VoteMessage): void {
    const core = this.#core
    const { log, votedFor, leaderId, term } = core
    const free =
      votedFor === message.from ||
      (votedFor === undefined && leaderId === undefined) ||
      (message.type === 'preVote' && message.term > term)
    // Whether we are a voter is not for us to say: we may not know yet that we are (etcd#10998).
    const granted = free && log.isUpToDate(message.lastLogIndex, message.lastLogTerm) && this.#defersTo(message)
    if (granted && message.type === 'vote') {
      this.elapsed = 0
      core.votedFor = message.from
    }
    this.answer(message, granted)
  }

  answer(request: PreVoteMessage | VoteMessage, granted: boolean): void {
    const { id, term, out, log, commit, config } = this.#core
    const hint = granted || !config.commitInRefusals ? {} : { commit, commitTerm: log.term(commit)! }
    const envelope = { from: id, to: request.from, term: granted ? request.term : term, granted, ...hint }
    // There is no term 0 on the wire, and a refusal from an earlier term than the candidate's tells it nothing anyway.
    if (envelope.term === 0) return
    if (request.type === 'preVote') out.send({ type: 'preVoteResp', ...envelope })
    else if (granted) out.hold({ type: 'voteResp', ...envelope })
    else out.send({ type: 'voteResp', ...envelope })
  }

  handleResponse(message: PreVoteRespMessage | VoteRespMessage): void {
    this.#learnCommit(message)
    const { role, term } = this.#core
    if (role !== (message.type === 'voteResp' ? 'candidate' : 'preCandidate')) return
    // A grant for an earlier pre-campaign says nothing about this one.
    if (message.type === 'preVoteResp' && message.granted && message.term !== term + 1) return
    if (!this.#votes.has(message.from)) this.#votes.set(message.from, message.granted)
    this.#countVotes()
  }

  dump(): ElectionDump {
    return { elapsed: this.elapsed, timeout: this.#timeout, votes: [...this.#votes] }
  }

  load({ elapsed, timeout, votes }: ElectionDump): void {
    this.elapsed = elapsed
    this.#timeout = timeout
    for (const [id, granted] of votes) this.#votes.set(id, granted)
  }

  #promotable(): boolean {
    const { reconfiguration, writes, out, id } = this.#core
    // While a snapshot is being installed, the log that we would campaign with is not on the disk.
    return isVoter(reconfiguration.confState, id) && !writes.installing && out.snapshot === undefined
  }

  /** Nobody to wait for. */
  #alone(): boolean {
    const { voters, votersOutgoing } = this.#core.reconfiguration.confState
    return voters.length === 1 && votersOutgoing.length === 0 && this.#core.role === 'follower'
  }

  #others(): PeerId[] {
    const { reconfiguration, id } = this.#core
    return reconfiguration.members.filter((member) => member !== id && isVoter(reconfiguration.confState, member))
  }

  /** raft-rs: a longer log outweighs a lower priority, an equal one does not. What the leader asks for, goes. */
  #defersTo(message: PreVoteMessage | VoteMessage): boolean {
    const { log, config } = this.#core
    if (message.type === 'vote' && message.transfer === true) return true
    return message.lastLogIndex > log.lastIndex || config.priority <= (message.priority ?? 0)
  }

  #request(term: number) {
    const { id, log, config } = this.#core
    const request = { from: id, term, lastLogIndex: log.lastIndex, lastLogTerm: log.lastTerm }
    return config.priority === 0 ? request : { ...request, priority: config.priority }
  }

  /**
   * A refuser may know more to be committed than we do; what of it our log holds is committed here too. If that
   * changes who votes, this campaign was held among the wrong ones.
   */
  #learnCommit({ commit = 0, commitTerm = 0 }: PreVoteRespMessage | VoteRespMessage): void {
    const core = this.#core
    if (core.role === 'leader' || commit <= core.commit || core.log.term(commit) !== commitTerm) return
    core.commitTo(commit)
    if (core.reconfiguration.hasUnapplied) this.becomeFollower(core.term, undefined)
  }

  #becomeCandidate(transfer: boolean): void {
    const core = this.#core
    this.#reset(core.term + 1)
    core.role = 'candidate'
    core.votedFor = core.id
    core.reads.fail()
    // The own vote counts like any other once it is durable.
    core.out.hold({ type: 'voteResp', from: core.id, to: core.id, term: core.term, granted: true })
    // Asking vouches for no vote, so it need not wait for the own one (etcd), but it does vouch for the log: a grant
    // that arrives after a crash must not elect a replica which lost the entries that the grant was given for.
    const isLogDurable = core.writes.durableIndex === core.log.lastIndex
    for (const to of this.#others()) {
      const request = { type: 'vote' as const, to, ...this.#request(core.term), ...(transfer ? { transfer } : {}) }
      if (isLogDurable) core.out.send(request)
      else core.out.hold(request)
    }
  }

  #countVotes(): void {
    const { reconfiguration, role, term } = this.#core
    const result = jointVoteResult(reconfiguration.confState, this.#votes)
    if (result === 'lost') this.becomeFollower(term, undefined)
    else if (result === 'won' && role === 'preCandidate') this.#becomeCandidate(false)
    // Not before the own vote is durable, whoever else voted: a leader that crashes and comes back without its term could
    // be elected in it once more, by voters that rightly repeat themselves, and give out its indexes twice.
    else if (result === 'won' && this.#votes.get(this.#core.config.id) === true) this.#becomeLeader()
  }

  #becomeLeader(): void {
    const core = this.#core
    invariant(core.role === 'candidate' && core.votedFor === core.id, 'Only a candidate becomes leader')
    this.#reset(core.term)
    core.role = 'leader'
    core.leaderId = core.id
    core.replication.begin()
    core.reconfiguration.beginLeading()
    core.proposals.beginLeading()
    core.replication.broadcastAppend()
  }

  #reset(term: number): void {
    const core = this.#core
    invariant(term >= core.term, 'The term went back', { from: core.term, to: term })
    // Stepping down within a term keeps the vote: forgetting it would allow a second one (Raft §3.4).
    if (term > core.term) core.votedFor = undefined
    core.term = term
    core.leaderId = undefined
    this.resetTimer()
    this.#votes.clear()
    core.replication.end()
    core.leases.clear()
    core.clocks.clear()
  }
}
