/**
 * Watches the consensus of a simulated cluster from outside: what replicas say on the wire, what they write, and what
 * they hand over to be applied. Nothing of the code under test is asked.
 *
 * Checked (Raft fig. 3.2, and what asynchronous storage adds):
 * - Election Safety: one leader a term; one vote a voter and term, across restarts.
 * - Log Matching: an (index, term) has one digest, one stamp and one predecessor everywhere.
 * - Leader Completeness: who leads holds every entry that was handed out as committed.
 * - State Machine Safety: what one replica applies at an index, all apply there.
 * - Durability: committed means acknowledged by the disks of a majority; a vote or an acknowledgement is on its
 *   sender's disk; a restart finds what was acknowledged, and of the rest whole appends or nothing.
 * - Log time never goes back and stays near the clocks that are right.
 */
import { invariant, toHex } from '@cipherlog/core'
import { sha256 } from '@cipherlog/crypto/hash'
import { type EntryRef, type HardState, type Message } from '@cipherlog/raft'
import { type WalAppend, type WalGroupContents } from '@cipherlog/storage'
import { type CommittedEntry, type Configuration } from '@cipherlog/server/pipeline'

/** A log as far as checks need it: base, then the terms that follow. */
interface LogImage {
  base: number
  baseTerm: number
  terms: number[]
  hardState: HardState | undefined
}

interface WatchedPeer {
  /** On its disk for sure. */
  durable: LogImage
  /** With everything it ever gave its disk. */
  appended: LogImage
  /** Appends that its disk has not acknowledged, oldest first. */
  unacknowledged: WalAppend[]
  /** The disk was damaged: what a restart finds is compared with nothing. */
  damaged: boolean
}

interface KnownEntry {
  readonly digest: string
  readonly time: number
  readonly prevTerm: number
}

interface AppliedEntry {
  readonly term: number
  readonly digest: string
  readonly time: number
}

/**
 * An entry may be committed by a leader that has, or has not yet, seen the changes of membership around it: one of the
 * newest configurations must have agreed.
 */
const configurationsTried = 3

export interface RaftCheckerOptions {
  /** Hex ids of those who vote at first. */
  readonly voters: readonly string[]
  /** Highest log time that any clock which is right allows now, in ms. */
  readonly logTimeMax: () => number
}

export class RaftChecker {
  readonly #options: RaftCheckerOptions
  readonly #peers = new Map<string, WatchedPeer>()
  readonly #leaderOfTerm = new Map<number, string>()
  readonly #votes = new Map<string, string>()
  readonly #entries = new Map<string, KnownEntry>()
  readonly #applied: (AppliedEntry | undefined)[] = []

  /** Sets of voters that each have to agree, by the entry from which on. */
  readonly #configurations: { readonly index: number; readonly sets: readonly (readonly string[])[] }[]

  constructor(options: RaftCheckerOptions) {
    this.#options = options
    this.#configurations = [{ index: 0, sets: [options.voters] }]
  }

  /** Highest index that was applied anywhere. */
  get appliedIndex(): number {
    return this.#applied.length - 1
  }

  #peer(id: string): WatchedPeer {
    let peer = this.#peers.get(id)
    if (peer === undefined) {
      peer = { durable: emptyLog(), appended: emptyLog(), unacknowledged: [], damaged: false }
      this.#peers.set(id, peer)
    }
    return peer
  }

  // What a replica writes

  /** Its log was opened and holds this. */
  opened(id: string, contents: WalGroupContents): void {
    const peer = this.#peer(id)
    const found: LogImage = {
      base: contents.baseIndex,
      baseTerm: contents.baseTerm,
      terms: contents.refs.map(({ term }) => term),
      hardState: contents.hardState,
    }
    const image = copyOf(peer.durable)
    let same = peer.damaged || equalLogs(image, found)
    for (const append of peer.unacknowledged) {
      if (same) break
      applyAppend(image, append)
      same = equalLogs(image, found)
    }
    invariant(same, 'A restart found another log than its disk had acknowledged.', {
      peer: id,
      acknowledged: describeLog(peer.durable),
      unacknowledged: peer.unacknowledged.length,
      found: describeLog(found),
    })
    for (const [at, ref] of contents.refs.entries()) this.#learn(ref, contents.refs[at - 1]?.term ?? contents.baseTerm)
    peer.durable = found
    peer.appended = copyOf(found)
    peer.unacknowledged = []
  }

  /** Bits of its log were flipped, behind everyone's back. */
  damaged(id: string): void {
    this.#peer(id).damaged = true
  }

  appending(id: string, append: WalAppend): void {
    const peer = this.#peer(id)
    applyAppend(peer.appended, append)
    peer.unacknowledged.push(append)
    for (const [at, { ref }] of append.entries.entries()) {
      this.#learn(ref, append.entries[at - 1]?.ref.term ?? termAt(peer.appended, ref.index - 1) ?? 0)
    }
  }

  acknowledged(id: string, append: WalAppend): void {
    const peer = this.#peer(id)
    const at = peer.unacknowledged.indexOf(append)
    for (const done of peer.unacknowledged.splice(0, at + 1)) applyAppend(peer.durable, done)
  }

  #learn(ref: EntryRef, prevTerm: number): void {
    const name = `${ref.index}@${ref.term}`
    const entry: KnownEntry = { digest: toHex(ref.digest), time: ref.time, prevTerm }
    const known = this.#entries.get(name)
    if (known === undefined) {
      this.#entries.set(name, entry)
      const timeMax = this.#options.logTimeMax()
      invariant(ref.time <= timeMax, 'A leader stamped a log time that no right clock allows.', {
        index: ref.index,
        time: ref.time,
        timeMax,
      })
      return
    }
    invariant(
      known.digest === entry.digest && known.time === entry.time && known.prevTerm === prevTerm,
      'Two entries share an index and a term (Log Matching).',
      { index: ref.index, term: ref.term },
    )
  }

  // What a replica says

  sent(message: Message): void {
    const { from, to, term } = message
    if (message.type === 'append' || message.type === 'heartbeat') this.#leads(from, term)
    else if (message.type === 'vote') this.#asksForVotes(message)
    else if (message.type === 'voteResp' && message.granted) this.#votesFor(from, term, to)
    else if (message.type === 'appendResp' && message.accepted) this.#vouchesFor(from, message.index)
  }

  #leads(id: string, term: number): void {
    const known = this.#leaderOfTerm.get(term)
    invariant(known === undefined || known === id, 'Two leaders in one term (Election Safety).', {
      term,
      leaders: `${known} ${id}`,
    })
    if (known !== undefined) return
    this.#leaderOfTerm.set(term, id)
    invariant((this.#votes.get(`${id}@${term}`) ?? id) === id, 'A leader voted for another in its term.', {
      term,
      leader: id,
    })
    const { appended } = this.#peer(id)
    for (const [index, entry] of this.#applied.entries()) {
      if (entry === undefined || index <= appended.base) continue
      invariant(
        termAt(appended, index) === entry.term || entry.term > term,
        'A leader lacks a committed entry (Leader Completeness).',
        { term, leader: id, index, committedIn: entry.term, has: termAt(appended, index) ?? 'nothing' },
      )
    }
  }

  /**
   * Asking promises nothing of the term (a crash may take the candidate's vote for itself back, which nobody counted), but it vouches for the candidate's log: a grant may arrive after the candidate
   * has lost what it had not synced, and would then elect a log that nobody voted for.
   */
  #asksForVotes({ from, term, lastLogIndex, lastLogTerm }: Extract<Message, { type: 'vote' }>): void {
    const { durable } = this.#peer(from)
    invariant(
      lastLogIndex <= durable.base || termAt(durable, lastLogIndex) === lastLogTerm,
      'A candidate vouches for a log that is not on its disk.',
      { candidate: from, term, lastLogIndex, durable: describeLog(durable) },
    )
  }

  #votesFor(id: string, term: number, candidate: string): void {
    const name = `${id}@${term}`
    const known = this.#votes.get(name) ?? candidate
    invariant(known === candidate, 'Two votes of one voter in one term.', {
      voter: id,
      term,
      candidates: `${known} ${candidate}`,
    })
    this.#votes.set(name, candidate)
    const { hardState } = this.#peer(id).durable
    invariant(
      hardState !== undefined &&
        (hardState.term > term || (hardState.term === term && hardState.votedFor === candidate)),
      'A vote left before it was durable.',
      { voter: id, term, durableTerm: hardState?.term ?? 0 },
    )
  }

  #vouchesFor(id: string, index: number): void {
    const { durable } = this.#peer(id)
    invariant(index <= durable.base + durable.terms.length, 'An acknowledgement left before its entry was durable.', {
      peer: id,
      index,
      durable: describeLog(durable),
    })
  }

  /** A change of membership took effect; the same everywhere. */
  configured(index: number, { voters, votersOutgoing }: Configuration): void {
    const sets = [voters, votersOutgoing].filter((set) => set.length > 0).map((set) => set.toSorted())
    const known = this.#configurations.find((each) => each.index === index)
    invariant(
      known === undefined || JSON.stringify(known.sets) === JSON.stringify(sets),
      'Two configurations as of one entry.',
      { index },
    )
    if (known !== undefined) return
    this.#configurations.push({ index, sets })
    this.#configurations.sort((a, b) => a.index - b.index)
  }

  // What a replica applies

  applying(id: string, entries: readonly CommittedEntry[]): void {
    for (const { index, time, payload } of entries) {
      const { appended } = this.#peer(id)
      const term = termAt(appended, index)
      const known = this.#applied[index]
      const entry: AppliedEntry = { term: term ?? known?.term ?? 0, digest: toHex(sha256(payload)), time }
      if (known !== undefined) {
        invariant(
          known.digest === entry.digest && known.time === entry.time && known.term === entry.term,
          'Replicas apply different entries at one index (State Machine Safety).',
          { index, peer: id, terms: `${known.term} ${entry.term}` },
        )
        continue
      }
      invariant(term !== undefined, 'A replica applies an entry that its log does not hold.', { index, peer: id })
      invariant(termAt(this.#peer(id).durable, index) === term, 'A replica applies what its own disk may not hold.', {
        index,
        peer: id,
      })
      const before = this.#applied[index - 1]
      invariant(before === undefined || before.time <= time, 'Log time goes back.', { index })
      const holds = (voter: string): boolean => termAt(this.#peer(voter).durable, index) === term
      invariant(
        this.#configurations
          .slice(-configurationsTried)
          .some(({ sets }) => sets.every((set) => set.filter(holds).length > set.length / 2)),
        'Committed without a majority of disks.',
        { index, term, peer: id },
      )
      this.#applied[index] = entry
    }
  }
}

function emptyLog(): LogImage {
  return { base: 0, baseTerm: 0, terms: [], hardState: undefined }
}

function copyOf(log: LogImage): LogImage {
  return { ...log, terms: [...log.terms] }
}

/** The term of an entry; undefined if the log does not hold it. */
function termAt({ base, baseTerm, terms }: LogImage, index: number): number | undefined {
  if (index === base) return baseTerm
  return terms[index - base - 1]
}

function applyAppend(log: LogImage, { hardState, snapshot, truncateFrom, entries }: WalAppend): void {
  if (snapshot !== undefined) Object.assign(log, { base: snapshot.index, baseTerm: snapshot.term, terms: [] })
  if (hardState !== undefined) log.hardState = hardState
  if (truncateFrom !== undefined) log.terms.length = Math.max(0, truncateFrom - log.base - 1)
  for (const { ref } of entries) log.terms[ref.index - log.base - 1] = ref.term
}

/** Up to what was compacted in one of them. */
function equalLogs(a: LogImage, b: LogImage): boolean {
  if (a.base + a.terms.length !== b.base + b.terms.length) return false
  if (a.hardState?.term !== b.hardState?.term || a.hardState?.votedFor !== b.hardState?.votedFor) return false
  for (let index = Math.max(a.base, b.base) + 1; index <= a.base + a.terms.length; index++) {
    if (termAt(a, index) !== termAt(b, index)) return false
  }
  return true
}

function describeLog({ base, terms, hardState }: LogImage): string {
  const vote = hardState === undefined ? 'no hard state' : `term ${hardState.term} voted ${hardState.votedFor}`
  return `${base} +${terms.length} (last of term ${terms.at(-1) ?? '-'}), ${vote}`
}
