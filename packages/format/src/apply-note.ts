/**
 * Apply note: what a replica remembers of its own stops, in a file of its data directory, so that it does not stop
 * at the same entry for ever. Never signed, never sent; losing it costs two more stops.
 */
import { boolean, constant, record, text, uint, type TypeOf } from '@cipherlog/core'
import { digest, formatVersion } from './common.ts'

/** An entry at which this replica stopped, or is about to apply after it stopped near it. */
export const stoppedEntry = record('stopped-entry', {
  index: [1, uint(Number.MAX_SAFE_INTEGER, 1)],
  /** SHA-256 of its payload. */
  digest: [2, digest],
  stops: [3, uint(0xffff, 1)],
  /** Version of the software that stopped; another one tries again. */
  software: [4, text(64)],
})
export type StoppedEntry = TypeOf<typeof stoppedEntry>

export const applyNote = record(
  'apply-note',
  {
    version: [0, constant(formatVersion)],
    /** Where the last run began: the applied index of its state store. */
    from: [1, uint()],
    /** False while a run goes on, so also after one that was killed. */
    ended: [2, boolean()],
  },
  { entry: [3, stoppedEntry] },
)
export type ApplyNote = TypeOf<typeof applyNote>
