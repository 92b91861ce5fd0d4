/**
 * What one step says: effects in order, what is to be written, and messages that wait for that write.
 *
 * Invariant: a step truncates before it appends, if at all, so one write can carry both.
 */
import { invariant } from '@cipherlog/core'
import { type SnapshotMeta } from './membership.ts'
import { type Message } from './messages.ts'
import { type HeldMessage } from './pending-writes.ts'
import { type Effect, type EntryRef } from './types.ts'

export interface NewEntry {
  readonly ref: EntryRef
  readonly proposalId?: number
}

export class Outbox {
  effects: Effect[] = []
  held: HeldMessage[] = []
  entries: NewEntry[] = []
  truncateFrom: number | undefined
  snapshot: SnapshotMeta | undefined

  send(message: Message): void {
    this.effects.push({ type: 'send', to: message.to, message })
  }

  /** Sends `message` once everything written up to the end of this step is durable. */
  hold(message: HeldMessage): void {
    this.held.push(message)
  }

  append(ref: EntryRef, proposalId?: number): void {
    this.entries.push(proposalId === undefined ? { ref } : { ref, proposalId })
  }

  truncate(from: number): void {
    invariant(this.entries.length === 0, 'A step truncated what it appended')
    this.truncateFrom = from
  }

  install(snapshot: SnapshotMeta): void {
    invariant(this.entries.length === 0, 'A step replaced the log that it appended to')
    this.snapshot = snapshot
    this.truncateFrom = undefined
  }
}
