import { type ApplyNote } from '@cipherlog/format'
import { beforeEach, describe, expect, it } from 'vitest'
import { ApplyGuard, forgetfulNotes, type ApplyNotes } from './apply-guard.ts'

const entry = (index: number, digest = index) => ({ index, digest: new Uint8Array(32).fill(digest) })

describe('ApplyGuard', () => {
  let kept: ApplyNotes
  let writes: ApplyNote[]
  let notes: ApplyNotes
  beforeEach(() => {
    kept = forgetfulNotes()
    writes = []
    notes = {
      read: kept.read,
      write: (note) => {
        writes.push(note)
        return kept.write(note)
      },
    }
  })
  const begin = (from = 5, logTo = 20, software = '1') => ApplyGuard.begin(notes, { from, logTo, software })
  /** A run that is killed inside the entry at `poison`. */
  async function killedAt(poison: number, from = 5): Promise<ApplyGuard> {
    const guard = await begin(from)
    for (let index = from + 1; index <= poison; index++) {
      if (guard.refuses(entry(index))) break
      await guard.before(entry(index))
      if (index < poison) await guard.after(entry(index))
    }
    return guard
  }

  it('refuses an entry after two faults at it, and no other entry', async () => {
    for (const stops of [0, 1, 2]) {
      const guard = await begin()
      expect(guard.refuses(entry(9))).toBe(stops === 2)
      expect(guard.refuses(entry(9, 1))).toBe(false)
      expect(guard.refuses(entry(8))).toBe(false)
      if (stops < 2) await guard.failed(entry(9))
    }
  })

  it('lets other software try again', async () => {
    for (let i = 0; i < 2; i++) await (await begin()).failed(entry(9))
    expect((await begin(5, 20, '1')).refuses(entry(9))).toBe(true)
    const next = await begin(5, 20, '2')
    expect(next.refuses(entry(9))).toBe(false)
    await next.failed(entry(9))
    expect((await begin(5, 20, '2')).refuses(entry(9))).toBe(false)
  })

  it('finds the entry that kills the process without a word, though nothing is noted in the first run', async () => {
    await killedAt(9)
    expect(writes).toHaveLength(1)
    await killedAt(9)
    // One note at the start, one for each entry.
    expect(writes).toHaveLength(1 + 1 + 4)
    await killedAt(9)
    expect((await begin()).refuses(entry(9))).toBe(true)
    expect((await begin()).refuses(entry(8))).toBe(false)
  })

  it('accuses no entry that was applied before the process was killed while it waited', async () => {
    for (let runs = 0; runs < 4; runs++) {
      const guard = await begin(5, 7)
      for (const index of [6, 7, 8]) {
        expect(guard.refuses(entry(index))).toBe(false)
        await guard.before(entry(index))
        await guard.after(entry(index))
      }
    }
  })

  it('notes nothing ahead after a run that ended in good order, or that got further', async () => {
    await (await killedAt(9)).end()
    writes.length = 0
    await killedAt(9)
    await killedAt(9, 6)
    await killedAt(9, 7)
    expect(writes).toHaveLength(3)
    expect(writes.every((note) => note.entry === undefined)).toBe(true)
  })

  it('counts a fault in an entry that was noted ahead once', async () => {
    await killedAt(9)
    const guard = await killedAt(9)
    await guard.failed(entry(9))
    expect(notes.read()).toMatchObject({ ended: false, entry: { index: 9, stops: 1 } })
  })

  it('keeps an entry that stopped it, though the run ends in good order before it', async () => {
    await (await begin()).failed(entry(9))
    await (await begin()).end()
    expect(notes.read()).toMatchObject({ ended: true, entry: { index: 9, stops: 1 } })
    await (await begin(9)).end()
    expect(notes.read()!.entry).toBeUndefined()
  })
})
