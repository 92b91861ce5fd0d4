/**
 * Cosigner sets and the tree sizes they govern (DESIGN §4 "Cosigner sets").
 *
 * A set governs every size above its event's leaf. The first batch record after that leaf makes the transition
 * size, which needs old and new set; no size in between is ever signed.
 */
import { toHex } from '@cipherlog/core'
import { type CosignerSet } from '@cipherlog/format'

/** Cosigner keys of an old and a new set together: with two log lines and four witnesses a note stays at 16 lines. */
export const transitionCosignersMax = 10

/** Largest number of leaves of a batch, its batch record not counted. */
export const batchLeavesMax = 255

export interface CosignerSetEntry {
  readonly set: CosignerSet
  /** Whose sizes it governs. */
  readonly generation: number
  /** The first of its generation, by genesis or group start: no set before it signs with it. */
  readonly first: boolean
  /** Number of the key event; 0: genesis; of a group start, the newest event before it. */
  readonly eventNumber: number
  /** Leaf of that event; the set governs every size above it. */
  readonly eventLeaf: number
  /** The size that needs this set and the one before; absent at genesis and while the transition is pending. */
  readonly transitionSize?: number
}

/** More than half of `n`. */
export function majorityOf(n: number): number {
  return Math.floor(n / 2) + 1
}

/** What is wrong with a set by itself, as a sentence; its keys are checked by {@link file://./key-uses.ts}. */
export function problemOfCosignerSet({ members, quorum }: CosignerSet): string | undefined {
  if (new Set(members.map(({ peerId }) => toHex(peerId))).size !== members.length) {
    return 'Two replicas of the cosigner set have one peer id; give each its own.'
  }
  const least = majorityOf(members.length)
  if (quorum < least || quorum > members.length) {
    return `A quorum of ${quorum} of ${members.length} replicas is not between a majority and all; choose ${least} to ${members.length}.`
  }
  return undefined
}

/** Distinct cosigner keys of two sets together. */
export function cosignersOf(a: CosignerSet, b: CosignerSet): number {
  return new Set([...a.members, ...b.members].map(({ cosignerKey }) => toHex(cosignerKey))).size
}

/**
 * Whether a size can be the transition size of an event at `eventLeaf`: its batch has at most 255 leaves, the
 * event's among them, and then the batch record.
 */
export function isTransitionSize(size: number, eventLeaf: number): boolean {
  return size >= eventLeaf + 2 && size <= eventLeaf + batchLeavesMax + 1
}

/**
 * Whose quorum a checkpoint of `size` leaves needs: one set, or old and new up to the transition size.
 * @param entries - in order, genesis first.
 * @param generation - default: the newest.
 */
export function setsFor(
  entries: readonly CosignerSetEntry[],
  size: number,
  generation: number = entries.at(-1)!.generation,
): readonly CosignerSet[] {
  const own = entries.filter((entry) => entry.generation === generation)
  let i = own.length - 1
  while (i > 0 && size <= own[i]!.eventLeaf) i--
  const governing = own[i]!
  if (i === 0 || (governing.transitionSize !== undefined && size > governing.transitionSize)) return [governing.set]
  return [own[i - 1]!.set, governing.set]
}
