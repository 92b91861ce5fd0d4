/**
 * What must hold in a Raft cluster, watched from outside: the checker sees what nodes do and what is on their disks, and
 * believes none of them. A broken promise throws.
 *
 * - Election Safety: one leader per term, by the durable votes of a quorum of its configuration, its own among them;
 *   one vote per voter and term, across restarts.
 * - Log Matching: an (index, term) has one digest, one stamp and one predecessor everywhere.
 * - Leader Completeness: a new leader holds every entry committed in an earlier term.
 * - State Machine Safety: what one node commits at an index, all commit there, and the machines agree, through snapshots
 *   too; it is never truncated anywhere.
 * - Durability: committed means on the disks of a quorum of the configuration in force; a vote or an acknowledgement is
 *   on its sender's disk.
 * - Membership: the configuration in force anywhere is that of the entries committed and durable there.
 * - Log time never goes back. Terms rise by campaigns alone, with pre-vote only after a quorum would vote.
 */
import { equalBytes, invariant } from '@cipherlog/core'
import { type ConfChange, type ConfState, type EntryRef, type Message, type PeerId, type Raft } from '@cipherlog/raft'
import { applyTo, holds, lastIndexOf, type RaftDisk, refAt } from './raft-disk.ts'

interface KnownEntry {
  readonly digest: Uint8Array
  readonly time: number
  readonly prevTerm: number
}

interface Committed {
  readonly term: number
  /** Term of the leader that committed it: never lower than the one before. */
  readonly by: number
  /** Of the machine, after it. */
  readonly state: number
}

/** A running node, before and after a step. */
export interface Watched {
  readonly id: PeerId
  readonly disk: RaftDisk
  readonly raft: Raft
}

export class RaftChecker {
  readonly #preVote: boolean
  readonly #startMs: number
  readonly #disksOf: (id: PeerId) => RaftDisk | undefined
  readonly #leaderOfTerm = new Map<number, PeerId>()
  readonly #voteOf = new Map<string, PeerId>()
  readonly #entries = new Map<string, KnownEntry>()
  readonly #committed: Committed[] = []
  /** The configurations in the order of the committed changes, each with the index from which it holds. */
  readonly #confs: { readonly index: number; readonly conf: ConfState }[]
  /** Terms that somebody campaigned in. */
  readonly #openTerms = new Set<number>()
  /** Who would vote for a candidate in a term: "candidate@term". */
  readonly #preVotes = new Map<string, Set<PeerId>>()

  /** @param disksOf - the disk that a peer has, or had when it was wiped */
  constructor(
    options: { readonly preVote: boolean; readonly startMs: number; readonly confState: ConfState },
    disksOf: (id: PeerId) => RaftDisk | undefined,
  ) {
    this.#preVote = options.preVote
    this.#startMs = options.startMs
    this.#confs = [{ index: 0, conf: options.confState }]
    this.#disksOf = disksOf
  }

  get committedTerms(): readonly number[] {
    return this.#committed.map(({ term }) => term)
  }

  get committedIndex(): number {
    return this.#committed.length
  }

  /** Term of the committed entry at `index`, undefined if none is. */
  committedTerm(index: number): number | undefined {
    return this.#committed[index - 1]?.term
  }

  /** The configuration that the committed entries up to `index` make. */
  confAt(index: number): ConfState {
    return this.#confs.findLast((each) => each.index <= index)!.conf
  }

  /** Every configuration that somebody who knows of the commits up to `index` may have in force. */
  confsSince(index: number): readonly ConfState[] {
    return this.#confs.filter((_, at) => (this.#confs[at + 1]?.index ?? Infinity) > index).map(({ conf }) => conf)
  }

  stateAt(index: number): number {
    return index === 0 ? 0 : this.#committed[index - 1]!.state
  }

  learnEntry(ref: EntryRef, prevTerm: number): void {
    const { index, term, time } = ref
    const before = this.#entries.get(`${index - 1}@${prevTerm}`)?.time ?? this.#startMs
    invariant(time >= before, 'Log time went back', { index, term })
    const key = `${index}@${term}`
    const known = this.#entries.get(key)
    if (known === undefined) {
      this.#entries.set(key, { digest: ref.digest, time, prevTerm })
      return
    }
    invariant(
      equalBytes(known.digest, ref.digest) && known.time === time && known.prevTerm === prevTerm,
      'Log Matching: two entries share index and term',
      { index, term },
    )
  }

  /** Stamp of an entry, undefined if it was never seen. */
  timeOf(index: number, term: number): number | undefined {
    return this.#entries.get(`${index}@${term}`)?.time
  }

  /** A term rose, from `before`; `wanted`: a leader told it to campaign, and nobody is asked first. */
  checkTerm({ id, raft, disk }: Watched, before: number, wanted: boolean): void {
    const { term, role } = raft.status
    invariant(term >= before, 'A term went back', { from: before, to: term })
    if (term === before) return
    if (role === 'candidate' || role === 'leader') {
      this.#openTerms.add(term)
      if (!this.#preVote || wanted) return
      const votes = this.#preVotes.get(`${id}@${term}`)
      const conf = this.#confInForce({ raft, disk, id })
      invariant(
        isQuorum(conf, (voter) => voter === id || votes?.has(voter) === true),
        'A candidate skipped the pre-vote',
        {
          term,
        },
      )
    } else {
      invariant(this.#openTerms.has(term), 'A pre-vote raised a term before anybody campaigned in it', { term })
    }
  }

  checkNewLeader(node: Watched, term: number): void {
    const { id, raft, disk } = node
    const other = this.#leaderOfTerm.get(term)
    invariant(other === undefined, 'Election Safety: two leaders in one term', { term, leaders: [other, id] })
    this.#leaderOfTerm.set(term, id)
    const { hardState } = disk
    invariant(hardState.term === term && hardState.votedFor === id, 'A leader leads before its own vote is durable', {
      term,
    })
    const voted = (voter: PeerId): boolean => voter === id || this.#voteOf.get(`${voter}@${term}`) === id
    const conf = this.#confInForce(node)
    invariant(isQuorum(conf, voted), 'Election Safety: a leader without the votes of a majority', { term, conf })
    for (let index = raft.status.firstIndex; index <= this.#committed.length; index++) {
      const { term: committedTerm, by } = this.#committed[index - 1]!
      // A candidate may win a term late, when a later one has a leader already: it need not hold what that one committed.
      if (by >= term) break
      invariant(raft.log.term(index) === committedTerm, 'Leader Completeness: a leader lacks a committed entry', {
        term,
        index,
      })
    }
  }

  /** A leader of `term` answered a read alone: while its lease runs nobody else may have been elected (Raft §6.4.1). */
  checkLease(term: number): void {
    const newest = Math.max(...this.#leaderOfTerm.keys())
    invariant(newest <= term, 'A read is stale, or may be: by lease, under another leader', { term, newest })
  }

  isLeaderOf(term: number, id: PeerId): boolean {
    return this.#leaderOfTerm.get(term) === id
  }

  /** The commit index of `node` went from `from`, where the configuration was that of `confIndex`. */
  checkCommit({ raft, disk }: Watched, from: number, confIndex: number): number {
    const { commit, term: by, firstIndex } = raft.status
    invariant(commit >= from, 'A commit index went back', { from, to: commit })
    for (let index = Math.max(from + 1, firstIndex); index <= commit; index++) {
      const term = raft.log.term(index)!
      const known = this.committedTerm(index)
      invariant(known === undefined || known === term, 'State Machine Safety: two entries committed at one index', {
        index,
        terms: [known, term],
      })
      if (known !== undefined) continue
      invariant(index === this.#committed.length + 1, 'An entry was committed before the one before it', { index })
      this.#commit(raft.log.ref(index), by)
      // Changes that were committed in the same step may have been in force already.
      const confs = this.#confs.filter(
        (each, at) => (this.#confs[at + 1]?.index ?? Infinity) > confIndex && each.index < index,
      )
      const held = (voter: PeerId): boolean => {
        const voters = this.#disksOf(voter)
        return voters !== undefined && holds(voters, index, term)
      }
      invariant(
        confs.some(({ conf }) => isQuorum(conf, held)),
        'Committed without a majority of disks',
        { index, term },
      )
    }
    const conf = raft.status.confState
    const here = Math.min(commit, raft.status.durableIndex)
    // While a snapshot is being installed its configuration is in force already.
    if (here >= commit || disk.base.index >= raft.log.base.index) {
      invariant(sameConf(conf, this.confAt(here)), 'Membership: not the configuration of what is committed here', {
        here,
        conf,
        expected: this.confAt(here),
      })
    }
    return commit - from
  }

  /** The machine of a node has applied everything up to `index`. */
  checkState(index: number, state: number): void {
    invariant(this.#committed[index - 1]?.state === state, 'State Machine Safety: two machines differ', { index })
  }

  checkConf(index: number, conf: ConfState): void {
    invariant(sameConf(conf, this.confAt(index)), 'Membership: two configurations at one index', {
      index,
      conf,
      expected: this.confAt(index),
    })
  }

  /** Entries from `from` on are about to leave a disk. */
  checkTruncation(disk: RaftDisk, from: number): void {
    for (let index = from; index <= lastIndexOf(disk); index++) {
      invariant(refAt(disk, index)?.term !== this.committedTerm(index), 'A committed entry left a disk', { index })
    }
  }

  /** A message must not leave before what it vouches for is on its sender's disk. */
  checkPromise({ id, disk, raft }: Watched, message: Message): void {
    const { hardState } = disk
    if (message.type === 'voteResp' && message.granted) {
      const votedFor = message.to
      invariant(hardState.term === message.term && hardState.votedFor === votedFor, 'A vote left before it was durable')
      const key = `${id}@${message.term}`
      invariant((this.#voteOf.get(key) ?? votedFor) === votedFor, 'Two votes in one term', { term: message.term })
      this.#voteOf.set(key, votedFor)
    } else if (message.type === 'preVoteResp' && message.granted) {
      const key = `${message.to}@${message.term}`
      this.#preVotes.set(key, (this.#preVotes.get(key) ?? new Set()).add(id))
    } else if (message.type === 'appendResp' && message.accepted && message.index > 0) {
      const { index } = message
      // While a snapshot is being installed the log before it is known by what was committed.
      const term = raft.log.term(index) ?? this.committedTerm(index)
      const held = index <= disk.base.index || (term !== undefined && refAt(disk, index)?.term === term)
      invariant(held, 'An acknowledgement left before its entry was durable', { index })
    }
  }

  #confInForce({ raft }: Watched): ConfState {
    const { commit, durableIndex } = raft.status
    return this.confAt(Math.min(commit, durableIndex))
  }

  #commit(ref: EntryRef, by: number): void {
    const state = applyTo(this.stateAt(this.#committed.length), ref)
    this.#committed.push({ term: ref.term, by, state })
    if (ref.change === undefined) return
    this.#confs.push({ index: ref.index, conf: nextConf(this.#confs.at(-1)!.conf, ref.change) })
  }
}

/** A majority of the voters and, in a joint configuration, one of the outgoing voters. */
export function isQuorum({ voters, votersOutgoing }: ConfState, holds: (voter: PeerId) => boolean): boolean {
  return [voters, votersOutgoing].every((each) => each.length === 0 || each.filter(holds).length > each.length / 2)
}

/** The slow twin of the core's `changeConf`: sets, from Raft §4.3 and etcd's description of joint configurations. */
function nextConf(conf: ConfState, { transition, changes }: ConfChange): ConfState {
  if (changes.length === 0 && transition === 'auto') {
    const learners = [...conf.learners, ...conf.learnersNext].sort()
    return { voters: conf.voters, learners, votersOutgoing: [], learnersNext: [], autoLeave: false }
  }
  const joint = transition !== 'auto' || changes.length > 1
  let voters = [...conf.voters]
  let learners = [...conf.learners]
  let learnersNext: PeerId[] = []
  const without = (ids: PeerId[], peer: PeerId): PeerId[] => ids.filter((id) => id !== peer)
  for (const { type, peer } of changes) {
    const stays = joint && conf.voters.includes(peer)
    if (type === 'addLearner' && learners.includes(peer)) continue
    voters = without(voters, peer)
    learners = without(learners, peer)
    learnersNext = without(learnersNext, peer)
    if (type === 'addVoter') voters = [...voters, peer]
    else if (type === 'addLearner' && stays) learnersNext = [...learnersNext, peer]
    else if (type === 'addLearner') learners = [...learners, peer]
  }
  return {
    voters: voters.sort(),
    learners: learners.sort(),
    votersOutgoing: joint ? conf.voters : [],
    learnersNext: learnersNext.sort(),
    autoLeave: joint && transition !== 'jointExplicit',
  }
}

function sameConf(a: ConfState, b: ConfState): boolean {
  const text = ({ voters, learners, votersOutgoing, learnersNext, autoLeave }: ConfState): string =>
    JSON.stringify([voters, learners, votersOutgoing, learnersNext, autoLeave])
  return text(a) === text(b)
}
