/** Splits a call's checks into groups of one verification key, and puts the groups' answers back in order. */
import { invariant, toHex } from '@cipherlog/core'
import { type BatchItem } from './groth16/engine.ts'
import { type ProofCheck } from './verifier.ts'

export interface Group {
  readonly verificationKey: Uint8Array
  readonly items: readonly BatchItem[]
  /** Where each item stands in the call. */
  readonly places: readonly number[]
}

/** Groups of at most `itemsMax` checks with equal keys; within a group in the order of the call. */
export function groupByKey(checks: readonly ProofCheck[], itemsMax: number): Group[] {
  const groups: { verificationKey: Uint8Array; items: BatchItem[]; places: number[] }[] = []
  const open = new Map<string, (typeof groups)[number]>()
  checks.forEach(({ verificationKey, statement, proof }, place) => {
    const name = toHex(verificationKey)
    let group = open.get(name)
    if (group === undefined || group.items.length >= itemsMax) {
      group = { verificationKey, items: [], places: [] }
      open.set(name, group)
      groups.push(group)
    }
    group.items.push({ statement, proof })
    group.places.push(place)
  })
  return groups
}

/**
 * One answer for each of `count` checks, in the call's order. With `stopAtFirstFailure` a group's answers end with
 * its first false, and so does the result: whatever stands before that place was answered by every group.
 */
export function inOrder(
  count: number,
  groups: readonly Group[],
  answers: readonly (readonly boolean[])[],
  stopAtFirstFailure: boolean,
): boolean[] {
  const byPlace = new Array<boolean | undefined>(count)
  groups.forEach((group, g) => answers[g]!.forEach((answer, i) => (byPlace[group.places[i]!] = answer)))
  const out: boolean[] = []
  for (const answer of byPlace) {
    invariant(answer !== undefined, 'A proof was left without an answer.')
    out.push(answer)
    if (!answer && stopAtFirstFailure) break
  }
  return out
}
