/**
 * Keeps a replica from stopping at one entry for ever (DESIGN §3 "Resource failures are no verdicts"): an entry at
 * which it stopped twice under the same software is not tried a third time; the replica pauses before it, and Raft
 * goes on.
 *
 * A fault that is caught is noted with its entry. A process that is killed (out of memory, a native abort) notes
 * nothing; so after two runs from the same place of which the last was killed, every entry is noted before it is
 * applied, up to where the log reached at the start. That costs one write to disk an entry, in that case only.
 */
import { equalBytes } from '@cipherlog/core'
import { formatVersion, type ApplyNote, type StoppedEntry } from '@cipherlog/format'

/** Stops at one entry before it is left alone. */
export const stopsMax = 2

/** Where the note is kept: durable when `write` resolves. */
export interface ApplyNotes {
  readonly read: () => ApplyNote | undefined
  readonly write: (note: ApplyNote) => Promise<void>
}

/** A note that nobody keeps, for replicas that do not outlive their process. */
export function forgetfulNotes(): ApplyNotes {
  let note: ApplyNote | undefined
  return {
    read: () => note,
    write: (next) => {
      note = next
      return Promise.resolve()
    },
  }
}

/** A run of the apply loop. */
export interface ApplyRun {
  /** Index up to which everything is applied and stored. */
  readonly from: number
  /** Last index of the log as it is found. */
  readonly logTo: number
  /** Version of this software. */
  readonly software: string
}

export type GuardedEntry = Pick<StoppedEntry, 'index' | 'digest'>

export class ApplyGuard {
  readonly #notes: ApplyNotes
  readonly #software: string
  readonly #from: number
  /** Entries up to here are noted before they are applied; 0: none. */
  readonly #carefulTo: number
  #entry: StoppedEntry | undefined
  /** The entry that was noted ahead in this run. */
  #counted: number | undefined

  private constructor(notes: ApplyNotes, run: ApplyRun) {
    this.#notes = notes
    this.#software = run.software
    this.#from = run.from
    const last = notes.read()
    this.#carefulTo = last !== undefined && !last.ended && last.from === run.from ? run.logTo : 0
    // What lies behind us was passed in the meantime.
    if (last?.entry !== undefined && last.entry.index > run.from) this.#entry = last.entry
  }

  /** Begins a run. */
  static async begin(notes: ApplyNotes, run: ApplyRun): Promise<ApplyGuard> {
    const guard = new ApplyGuard(notes, run)
    await guard.#write(false)
    return guard
  }

  /** Whether the replica must not try this entry. */
  refuses(entry: GuardedEntry): boolean {
    return this.#knows(entry) && this.#entry!.stops >= stopsMax
  }

  /** Before an entry is applied; undefined: nothing needs to be kept. */
  before(entry: GuardedEntry): Promise<void> | undefined {
    // One that stopped us before is what we look for: nothing on the way there may take its place in the note.
    if (entry.index > this.#carefulTo || entry.index < (this.#entry?.index ?? 0)) return undefined
    this.#counted = entry.index
    return this.#count(entry)
  }

  /** The entry was applied; undefined: nothing needs to be kept. */
  after({ index }: GuardedEntry): Promise<void> | undefined {
    if (index !== this.#carefulTo || this.#counted !== index) return undefined
    this.#counted = undefined
    this.#entry = undefined
    return this.#write(false)
  }

  /** Applying the entry failed, and the replica stops. */
  async failed(entry: GuardedEntry): Promise<void> {
    if (this.#counted === entry.index) this.#counted = undefined
    else await this.#count(entry)
  }

  /** The run ends in good order. */
  async end(): Promise<void> {
    if (this.#counted !== undefined) this.#entry = undefined
    await this.#write(true)
  }

  #knows({ index, digest }: GuardedEntry): boolean {
    const known = this.#entry
    return known?.index === index && known.software === this.#software && equalBytes(known.digest, digest)
  }

  #count(entry: GuardedEntry): Promise<void> {
    const stops = this.#knows(entry) ? this.#entry!.stops + 1 : 1
    this.#entry = { index: entry.index, digest: entry.digest, stops, software: this.#software }
    return this.#write(false)
  }

  #write(ended: boolean): Promise<void> {
    const note = { version: formatVersion, from: this.#from, ended } as const
    return this.#notes.write(this.#entry === undefined ? note : { ...note, entry: this.#entry })
  }
}
