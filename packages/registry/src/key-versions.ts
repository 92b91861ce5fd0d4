/**
 * Key versions of a keyset and their states (DESIGN §7): pending → active → grace → decrypt-only, and compromised
 * from any of them. No event of rules 1 retires or destroys a version.
 *
 * Invariant: at most one version is active, and none has an epoch above it that was ever activated.
 */
import { type KeysetMember, type KeyState, type KeyVersion, type Suite, suites } from '@cipherlog/format'

/** Where an event stands; a client that folds a proven chain knows its number only. */
export interface EventPlace {
  readonly number: number
  readonly leafIndex: number | undefined
  /** Milliseconds. */
  readonly logTime: number | undefined
}

/** A key event that ended something. */
export interface Ending {
  readonly number: number
  /** Undefined if folded without its place. */
  readonly leafIndex: number | undefined
  readonly reason: string
}

export interface KeyVersionEntry {
  readonly keyEpoch: number
  readonly version: KeyVersion
  /** Number of the event that added it. */
  readonly addedBy: number
  /** Number of the event that activated it; absent while it is pending. */
  readonly activatedBy?: number
  /** Log time of that event; undefined if folded without its place. */
  readonly activatedAt?: number | undefined
  /** Number of the event that activated its successor. */
  readonly replacedBy?: number
  /** Log time from which it is decrypt-only; undefined if folded without its place, which counts as over. */
  readonly graceUntil?: number | undefined
  readonly compromised?: Ending
}

export interface KeysetEntry {
  /** 16 bytes. */
  readonly id: Uint8Array
  readonly suite: Suite
  /** Readers, in the order that events refer to them by. */
  readonly members: readonly KeysetMember[]
  /** How many readers must have checked a version before it becomes active. */
  readonly readyMin: number
  readonly label?: string | undefined
  /** By epoch, from 1 without gaps. */
  readonly versions: ReadonlyMap<number, KeyVersionEntry>
}

/** The state of a version at a log time. */
export function keyStateAt(entry: KeyVersionEntry, logTime: number): KeyState {
  if (entry.compromised !== undefined) return 'compromised'
  if (entry.activatedBy === undefined) return 'pending'
  if (entry.replacedBy === undefined) return 'active'
  return entry.graceUntil !== undefined && logTime < entry.graceUntil ? 'grace' : 'decrypt-only'
}

/** The active version; none before the first activation, and none between `compromised` and its successor. */
export function activeVersion({ versions }: KeysetEntry): KeyVersionEntry | undefined {
  const last = lastActivated(versions)
  return last?.compromised === undefined ? last : undefined
}

/**
 * The version whose readers endorse the next one: the last that was ever active, even if compromised since, else
 * the newest. There is always one.
 */
export function currentVersion({ versions }: KeysetEntry): KeyVersionEntry {
  return lastActivated(versions) ?? versions.get(versions.size)!
}

/** Indexes of the members that hold a version's secret. Shares may be left out for an only member. */
export function readersOf(suite: Suite, { memberKeys, shares }: KeyVersion): readonly number[] {
  if (suite === suites.hpkeXwing) return memberKeys?.map(({ member }) => member) ?? []
  return shares === undefined || shares.length === 0 ? [0] : shares.map(({ member }) => member)
}

/** The keyset with a further, pending version. */
export function withVersion(keyset: KeysetEntry, version: KeyVersion, place: EventPlace): KeysetEntry {
  const keyEpoch = keyset.versions.size + 1
  return withEntry(keyset, { keyEpoch, version, addedBy: place.number })
}

/**
 * The keyset with `keyEpoch` active. Its predecessor is in grace for `graceMs`, and no older version longer than
 * that: a rotation without grace ends writing under every older version.
 */
export function withActivated(keyset: KeysetEntry, keyEpoch: number, graceMs: number, place: EventPlace): KeysetEntry {
  const { number, logTime } = place
  const graceUntil = logTime === undefined ? undefined : logTime + graceMs
  const versions = new Map<number, KeyVersionEntry>()
  for (const [epoch, entry] of keyset.versions) {
    if (epoch === keyEpoch) {
      versions.set(epoch, { ...entry, activatedBy: number, activatedAt: logTime })
    } else if (entry.activatedBy !== undefined && entry.replacedBy === undefined) {
      versions.set(epoch, { ...entry, replacedBy: number, graceUntil })
    } else if (entry.graceUntil !== undefined && graceUntil !== undefined && entry.graceUntil > graceUntil) {
      versions.set(epoch, { ...entry, graceUntil })
    } else {
      versions.set(epoch, entry)
    }
  }
  return { ...keyset, versions }
}

/** The keyset with `keyEpoch` compromised. */
export function withCompromised(keyset: KeysetEntry, keyEpoch: number, ending: Ending): KeysetEntry {
  return withEntry(keyset, { ...keyset.versions.get(keyEpoch)!, compromised: ending })
}

function withEntry(keyset: KeysetEntry, entry: KeyVersionEntry): KeysetEntry {
  return { ...keyset, versions: new Map(keyset.versions).set(entry.keyEpoch, entry) }
}

function lastActivated(versions: ReadonlyMap<number, KeyVersionEntry>): KeyVersionEntry | undefined {
  let last: KeyVersionEntry | undefined
  for (const entry of versions.values()) {
    if (entry.activatedBy !== undefined && (last === undefined || entry.keyEpoch > last.keyEpoch)) last = entry
  }
  return last
}
