/** What an offline check of a data directory says. */
import { type WalDoubt, type WalIdentity } from '../wal/wal.ts'

export type FsckStore = 'wal' | 'state' | 'trail'

export interface FsckProblem {
  readonly store: FsckStore
  /** Below the store's directory; empty for the store as a whole. */
  readonly path: string
  /** Where in the file, in bytes. */
  readonly offset: number | undefined
  /** A sentence without its full stop. */
  readonly problem: string
  /**
   * `start`: the next start mends it. `peers`: a running replica fetches what is missing from its peers, or asks them.
   * `replace`: this replica must be rebuilt, or replaced by a new member.
   */
  readonly remedy: 'start' | 'peers' | 'replace'
}

export interface FsckGroup {
  /** 32 hex digits. */
  readonly group: string
  /** First and last entry in the log; the last is below the first if there is none. */
  readonly firstIndex: number
  readonly lastIndex: number
  readonly term: number
  readonly holes: readonly number[]
  readonly doubt: WalDoubt | undefined
}

export interface FsckReport {
  readonly identity: WalIdentity
  /** The first 10,000. */
  readonly problems: readonly FsckProblem[]
  readonly wal: { readonly segments: number; readonly groups: readonly FsckGroup[] } | undefined
  /** Pairs that could be read from the newest persisted state. */
  readonly state: { readonly pairs: number } | undefined
  readonly trail:
    { readonly trailFrom: number; readonly treeSize: number; readonly publishedSize: number | undefined } | undefined
}

export interface FsckOptions {
  /** `done` of `of` units of the store: segments, files, leaves. Called at least once for each store that is there. */
  readonly onProgress?: (progress: { readonly store: FsckStore; readonly done: number; readonly of: number }) => void
  /** Where a copy of the state store is made and removed again; default: the system's folder for temporary files. */
  readonly scratch?: string
}

export const problemsMax = 10_000
