/** What was read from disk, checked: only what some run of this core can have left behind is started from. */
import { RaftStateError } from './errors.ts'
import { RaftLog } from './log.ts'
import { type ConfState, isConfState, isSnapshotMeta, type SnapshotMeta } from './membership.ts'
import { isEntryRef } from './messages.ts'
import { isCount, isTerm } from './numbers.ts'
import { type HardState, type PersistedState, type RaftConfig } from './types.ts'

export interface Loaded {
  readonly log: RaftLog
  readonly hardState: HardState
  readonly applied: number
  readonly confState: ConfState
  readonly confIndex: number
  readonly snapshot: SnapshotMeta | undefined
  /** The highest index that any of this proves committed. */
  readonly commit: number
}

/** @throws {@link RaftStateError} `ERR_RAFT_STATE` */
export function loadPersisted(
  { initialTimeMs, confChangeValidation }: Pick<Required<RaftConfig>, 'initialTimeMs' | 'confChangeValidation'>,
  persisted: PersistedState,
): Loaded {
  const { hardState, base = { index: 0, term: 0, time: initialTimeMs }, confState, snapshot } = persisted
  const { applied = base.index, confIndex = 0 } = persisted
  const { term, votedFor, commit } = hardState
  const require = (condition: boolean, what: string, details: Readonly<Record<string, unknown>>): void => {
    if (!condition) throw new RaftStateError(what, details)
  }
  for (const value of [commit, applied, base.index, base.time, confIndex]) {
    require(isCount(value), 'has an impossible counter', { value })
  }
  require(isTerm(term) && isTerm(base.term), 'has an impossible term', { term, baseTerm: base.term })
  require((base.index === 0) === (base.term === 0), 'begins after an impossible entry', { base })
  require(isConfState(confState), 'has an impossible configuration', { confState })
  require(snapshot === undefined || isSnapshotMeta(snapshot), 'has an impossible snapshot', {})
  const log = new RaftLog(base)
  for (const ref of persisted.refs) {
    require(isEntryRef(ref) &&
      ref.index === log.lastIndex + 1 &&
      ref.term >= log.lastTerm, 'has an entry out of place', {
      index: ref.index,
      after: log.lastIndex,
    })
    log.append(ref)
  }
  const { lastIndex } = log
  require(term >= log.lastTerm, 'has entries of a later term than its own', { term })
  const committed = Math.max(commit, applied, base.index, confIndex, snapshot?.index ?? 0)
  require(committed <= lastIndex, 'lacks committed entries', { commit, applied, confIndex, lastIndex })
  require(applied >= base.index, 'lost entries that the machine has not applied', { applied, base })
  require(confIndex >= base.index, 'lost changes of membership with the compacted log', { confIndex, base })
  require(term > 0 || votedFor === undefined, 'has a vote without a term', {})
  // A leader that checks appends a change of membership only once the one before is committed, so both say that the
  // first one is.
  const commitIndex = Math.max(committed, confChangeValidation ? log.committedChange : 0)
  return { log, hardState, applied, confState, confIndex, snapshot, commit: commitIndex }
}
