/** Lives of a log, chosen by a seed, and what it must hold after each. */
import { expect } from 'vitest'
import { toHex } from '@cipherlog/core'
import type { HardState } from '@cipherlog/raft'
import { entry, identity } from './compliance.fixture.ts'
import { type Wal, type WalAppend, type WalBase, type WalContents, type WalEntry } from './wal.ts'

export const groups = [new Uint8Array(16), new Uint8Array(16).fill(1)] as const
export const self = toHex(identity.peerId)
const peers = ['0a'.repeat(16), '0b'.repeat(16)]

/** What a group must hold, kept the slow way. */
export interface Model {
  readonly group: Uint8Array
  base: WalBase
  entries: WalEntry[]
  hardState: HardState
}

function lastIndex(model: Model): number {
  return model.base.index + model.entries.length
}

/** A list of appends that a Raft core may ask for, and the models of both groups after all of them. */
export function randomLife(random: () => number, length: number): { appends: WalAppend[]; models: Model[] } {
  const below = (bound: number) => Math.floor(random() * bound)
  const models = groups.map((group): Model => {
    const base = { index: 0, term: 0, time: 0 }
    return { group, base, entries: [], hardState: { term: 0, votedFor: undefined, commit: 0 } }
  })
  const appends: WalAppend[] = []
  for (let step = 0; step < length; step++) {
    const model = models[random() < 0.75 ? 0 : 1]!
    let { hardState } = model
    let writesHardState = false
    let truncateFrom: number | undefined
    let snapshot: WalBase | undefined
    if (hardState.term === 0 || random() < 0.25) {
      hardState = { ...hardState, term: hardState.term + 1 + below(2), votedFor: peers[below(3)] }
      writesHardState = true
      const first = Math.max(hardState.commit, model.base.index) + 1
      if (random() < 0.4 && first <= lastIndex(model)) truncateFrom = first + below(lastIndex(model) - first + 1)
      else if (random() < 0.15) {
        const index = Math.max(hardState.commit, model.base.index) + below(5)
        if (index > 0) snapshot = { index, term: hardState.term - 1, time: 1000 + index }
      }
    } else if (hardState.votedFor === undefined && random() < 0.2) {
      hardState = { ...hardState, votedFor: peers[below(2)] }
      writesHardState = true
    }
    if (snapshot !== undefined) {
      model.base = snapshot
      model.entries = []
    }
    if (truncateFrom !== undefined) model.entries.length = truncateFrom - model.base.index - 1
    const count = truncateFrom === undefined ? below(4) : 1 + below(3)
    const added: WalEntry[] = []
    for (let i = 0; i < count; i++) added.push(entry(lastIndex(model) + 1 + i, hardState.term))
    model.entries.push(...added)
    if (random() < 0.3 && lastIndex(model) > hardState.commit) {
      const commit = hardState.commit + 1 + below(lastIndex(model) - hardState.commit)
      hardState = { ...hardState, commit: Math.max(commit, model.base.index) }
      writesHardState = true
    }
    model.hardState = hardState
    appends.push({
      group: model.group,
      hardState: writesHardState ? hardState : undefined,
      snapshot,
      truncateFrom,
      entries: added,
      fencingTerm: hardState.term,
    })
  }
  return { appends, models }
}

export interface Outcome {
  holes: number
  doubts: number
  abstained: number
  termsUnknown: number
}

/**
 * Checks that the log holds what `model` says, or says itself what it does not know; then does what a server does
 * about it: repairs the holes, and asks a leader, whose log is `model`, to settle the doubt.
 */
export async function checkAndHeal(wal: Wal, contents: WalContents, model: Model): Promise<Outcome> {
  const { group } = model
  const found = contents.group(group)
  const { doubt, refs, baseIndex } = found
  const names = refs.map((ref) => `${ref.term}/${ref.index}`)
  const expected = model.entries.map(({ ref }) => `${ref.term}/${ref.index}`)
  const lists = JSON.stringify({ baseIndex, names, doubt, model: model.base, expected })
  const outcome = { holes: found.holes.length, doubts: 0, abstained: 0, termsUnknown: 0 }

  const { term = 0, votedFor } = found.hardState ?? {}
  const termUnknown = doubt?.termUnknown === true
  if (!termUnknown) {
    expect(term, `a promised term is forgotten: ${lists}`).toBeGreaterThanOrEqual(model.hardState.term)
    const same = term === model.hardState.term && votedFor === model.hardState.votedFor
    if (!same) expect(votedFor, `another vote than the one given: ${lists}`).toBe(self)
    outcome.abstained += same ? 0 : 1
  }
  expect(found.hardState?.commit ?? 0).toBeLessThanOrEqual(model.hardState.commit)

  if (doubt === undefined) {
    // A lost snapshot record at an entry that the log held anyway: the log is the same, and begins earlier.
    const early = model.base.index - baseIndex
    expect(early, lists).toBeGreaterThanOrEqual(0)
    if (early > 0) expect(refs[early - 1]!.term, lists).toBe(model.base.term)
    expect(names.slice(early), lists).toEqual(expected)
  } else {
    outcome.doubts++
    outcome.termsUnknown += termUnknown ? 1 : 0
    const below = (list: string[], from: number) => list.slice(0, Math.max(0, doubt.fromIndex - from - 1))
    if (baseIndex === model.base.index) expect(below(names, baseIndex), lists).toEqual(below(expected, baseIndex))
    await settleFrom(wal, contents, model)
  }
  for (const ref of wal.holes(group)) {
    const before = entry(ref.index, ref.term)
    await wal.repair(group, ref.index, (model.entries[ref.index - model.base.index - 1] ?? before).payload)
  }
  if (model.entries.length > 0) {
    const read = await wal.read(group, model.base.index + 1, lastIndex(model), 1e9)
    expect(read, lists).toEqual(model.entries)
  }
  return outcome
}

/** What a server does with a doubt: follows the leader's log from the first entry in doubt, then settles. */
async function settleFrom(wal: Wal, contents: WalContents, model: Model): Promise<void> {
  const { group } = model
  const { doubt, refs, baseIndex, hardState } = contents.group(group)
  const fencingTerm = doubt!.termAtLeast
  const last = baseIndex + refs.length
  if (baseIndex < model.base.index) {
    await wal.append({ group, snapshot: model.base, entries: model.entries, fencingTerm: model.hardState.term })
  } else {
    let from = Math.min(Math.max(doubt!.fromIndex, baseIndex + 1), last + 1)
    const leaderTerm = (index: number) => model.entries[index - model.base.index - 1]?.ref.term
    while (from <= last && refs[from - baseIndex - 1]!.term === leaderTerm(from)) from++
    const rest = model.entries.slice(from - model.base.index - 1)
    const truncateFrom = from <= last ? from : undefined
    // In several steps, as they arrive.
    await wal.append({
      group,
      truncateFrom,
      entries: rest.slice(0, 1),
      fencingTerm: Math.max(fencingTerm, model.hardState.term),
    })
    await wal.append({ group, entries: rest.slice(1), fencingTerm: Math.max(fencingTerm, model.hardState.term) })
  }
  const term = Math.max(doubt!.termAtLeast, model.hardState.term) + 1
  const through = { index: lastIndex(model), term: model.entries.at(-1)?.ref.term ?? model.base.term }
  await wal.settle(group, { hardState: { term, votedFor: undefined, commit: hardState?.commit ?? 0 }, through })
}

export async function runLife(wal: Wal, appends: readonly WalAppend[]): Promise<void> {
  for (const append of appends) await wal.append(append)
}
