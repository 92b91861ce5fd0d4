/** What every log must do, whatever it stands on. */
import { createHash } from 'node:crypto'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { errorCode, utf8 } from '@cipherlog/core'
import { type Wal, type WalAppend, type WalEntry, type WalGroupContents, type WalOptions } from './wal.ts'

export const group = new Uint8Array(16)
export const identity = { cluster: new Uint8Array(32).fill(7), peerId: new Uint8Array(16).fill(9) }
export const peer = '09'.repeat(16)

/** Entry `index` of `term` with a payload that tells them apart. */
export function entry(index: number, term: number, payload: Uint8Array = utf8(`${term}/${index}`)): WalEntry {
  const digest = new Uint8Array(createHash('sha256').update(payload).digest())
  return { ref: { term, index, kind: 3, time: 1000 + index, bytes: payload.length, digest }, payload }
}

/** An append of entries `from` to `to` of `term`. */
export function entries(term: number, from: number, to: number): WalAppend {
  const list: WalEntry[] = []
  for (let index = from; index <= to; index++) list.push(entry(index, term))
  return { group, entries: list, fencingTerm: term }
}

export async function codeOf(result: Promise<unknown>): Promise<string | undefined> {
  try {
    await result
  } catch (error) {
    return errorCode(error) ?? (error as Error).name
  }
  return undefined
}

/** `term/index` of every entry. */
export function listOf(contents: Pick<WalGroupContents, 'refs'>): string[] {
  return contents.refs.map((ref) => `${ref.term}/${ref.index}`)
}

/** Opens logs on one place, the same at every call until `clear`. */
export interface WalPlace {
  open(options: WalOptions): Promise<Wal>
  clear(): Promise<void>
}

export function walCompliance(name: string, makePlace: () => Promise<WalPlace>): void {
  describe(`${name}: compliance`, () => {
    let place: WalPlace
    let wal: Wal

    beforeEach(async () => {
      place = await makePlace()
      wal = await place.open({ identity })
    })
    afterEach(async () => {
      await wal.close()
      await place.clear()
    })
    async function reopen(options: Partial<WalOptions> = {}) {
      await wal.close()
      wal = await place.open({ identity, ...options })
      return wal.open()
    }

    it('opens empty', async () => {
      const contents = await wal.open()
      expect(contents.group(group)).toEqual({
        hardState: undefined,
        baseIndex: 0,
        baseTerm: 0,
        baseTime: 0,
        refs: [],
        holes: [],
        doubt: undefined,
      })
      expect(contents.repairs).toEqual({ bytesCut: 0, recordsMended: 0, refsMended: 0 })
    })

    it('returns after a restart what was appended, with payloads', async () => {
      await wal.open()
      await wal.append({ ...entries(1, 1, 3), hardState: { term: 1, votedFor: peer, commit: 0 } })
      await wal.append({ group, hardState: { term: 2, votedFor: undefined, commit: 3 }, entries: [], fencingTerm: 2 })
      const contents = (await reopen()).group(group)
      expect(contents.hardState).toEqual({ term: 2, votedFor: undefined, commit: 3 })
      expect(contents.refs).toEqual(entries(1, 1, 3).entries.map(({ ref }) => ref))
      expect(await wal.read(group, 1, 3, 1e6)).toEqual(entries(1, 1, 3).entries)
    })

    it('forgets a truncated suffix for good', async () => {
      await wal.open()
      await wal.append(entries(1, 1, 5))
      await wal.append({ ...entries(2, 3, 4), truncateFrom: 3 })
      expect((await wal.read(group, 1, 4, 1e6)).map(({ ref }) => ref.term)).toEqual([1, 1, 2, 2])
      expect(listOf((await reopen()).group(group))).toEqual(['1/1', '1/2', '2/3', '2/4'])
      expect((await wal.read(group, 1, 4, 1e6)).map(({ ref }) => ref.term)).toEqual([1, 1, 2, 2])
    })

    it('keeps groups apart', async () => {
      const other = new Uint8Array(16).fill(1)
      await wal.open()
      await Promise.all([
        wal.append(entries(5, 1, 2)),
        wal.append({ ...entries(3, 1, 1), group: other, hardState: { term: 3, votedFor: undefined, commit: 1 } }),
      ])
      const contents = await reopen()
      expect(listOf(contents.group(group))).toEqual(['5/1', '5/2'])
      expect(listOf(contents.group(other))).toEqual(['3/1'])
      expect(contents.group(group).hardState).toBeUndefined()
    })

    it('read() stops at bytesMax but always brings the first entry', async () => {
      await wal.open()
      const list = [1, 2, 3].map((index) => entry(index, 1, new Uint8Array(100).fill(index)))
      await wal.append({ group, entries: list, fencingTerm: 1 })
      for (const restart of [false, true]) {
        if (restart) await reopen()
        expect(await wal.read(group, 1, 3, 200)).toEqual(list.slice(0, 2))
        expect(await wal.read(group, 2, 3, 1)).toEqual(list.slice(1, 2))
        expect(await codeOf(wal.read(group, 1, 4, 200))).toBe('RangeError')
        expect(await codeOf(wal.read(group, 0, 1, 200))).toBe('RangeError')
      }
    })

    it('reads entries that left the cache and entries that are in it in one go', async () => {
      await reopen({ cacheBytesMax: 250 })
      const list = [1, 2, 3, 4].map((index) => entry(index, 1, new Uint8Array(100).fill(index)))
      for (const one of list) await wal.append({ group, entries: [one], fencingTerm: 1 })
      expect(await wal.read(group, 1, 4, 1e6)).toEqual(list)
    })

    it('rolls segments, and each can be read without those before it', async () => {
      await reopen({ segmentBytes: 600 })
      for (let index = 1; index <= 30; index++) {
        await wal.append({ ...entries(1, index, index), hardState: { term: 1, votedFor: peer, commit: index - 1 } })
      }
      const base = await wal.compactTo(group, 20)
      expect(base).toBeGreaterThan(10)
      expect(base).toBeLessThanOrEqual(20)
      expect(await codeOf(wal.read(group, base, 30, 1e6))).toBe('RangeError')
      expect(await wal.read(group, base + 1, 30, 1e6)).toEqual(entries(1, base + 1, 30).entries)
      const contents = (await reopen({ segmentBytes: 600 })).group(group)
      expect(contents).toMatchObject({
        baseIndex: base,
        baseTerm: 1,
        hardState: { term: 1, votedFor: peer, commit: 29 },
      })
      expect(contents.refs.length).toBe(30 - base)
      await wal.append(entries(2, 31, 31))
      expect((await wal.read(group, 31, 31, 1)).length).toBe(1)
    })

    it('compacts nothing that another group needs, and everything once it does not', async () => {
      const other = new Uint8Array(16).fill(1)
      await reopen({ segmentBytes: 600 })
      await wal.append({ ...entries(1, 1, 1), group: other })
      for (let index = 1; index <= 30; index++) await wal.append(entries(1, index, index))
      expect(await wal.compactTo(group, 30)).toBe(0)
      expect(await wal.compactTo(other, 1)).toBe(1)
      expect(await wal.compactTo(group, 30)).toBeGreaterThan(20)
      const contents = await reopen({ segmentBytes: 600 })
      expect(contents.group(other)).toMatchObject({ baseIndex: 1, baseTerm: 1, refs: [] })
      await wal.append({ ...entries(1, 2, 2), group: other })
    })

    it('compaction survives a truncation that reaches below the start of the first segment left', async () => {
      await reopen({ segmentBytes: 600 })
      for (let index = 1; index <= 12; index++) await wal.append(entries(1, index, index))
      await wal.append({ ...entries(2, 3, 3), truncateFrom: 3 })
      for (let index = 4; index <= 20; index++) await wal.append(entries(2, index, index))
      const base = await wal.compactTo(group, 20)
      const contents = (await reopen({ segmentBytes: 600 })).group(group)
      expect(contents.baseIndex).toBe(base)
      expect(contents.baseTerm).toBe(2)
      expect(listOf(contents).at(-1) ?? `2/${base}`).toBe('2/20')
    })

    it('refuses an append that does not continue the log, and takes the right one afterwards', async () => {
      await wal.open()
      await wal.append(entries(2, 1, 2))
      const wrong: WalAppend[] = [
        entries(2, 4, 4),
        entries(2, 2, 2),
        { ...entries(1, 3, 3), fencingTerm: 2 },
        { ...entries(3, 3, 3), fencingTerm: 2 },
        { ...entries(2, 3, 3), hardState: { term: 3, votedFor: peer, commit: 0 } },
        { ...entries(2, 3, 3), truncateFrom: 4 },
        { ...entries(2, 3, 3), truncateFrom: 0 },
        { group, entries: [{ ...entry(3, 2), payload: utf8('2/4') }], fencingTerm: 2 },
        { group, entries: [], hardState: { term: 2, votedFor: undefined, commit: 3 }, fencingTerm: 2 },
      ]
      for (const append of wrong) expect(await codeOf(wal.append(append))).toBe('ERR_INVARIANT')
      await wal.append({ ...entries(2, 3, 3), hardState: { term: 2, votedFor: undefined, commit: 2 } })
      expect(await codeOf(wal.append({ ...entries(3, 2, 2), truncateFrom: 2 }))).toBe('ERR_INVARIANT')
      expect(listOf((await reopen()).group(group))).toEqual(['2/1', '2/2', '2/3'])
    })

    it('refuses a batch of an older leadership than the newest, up to the last of 32 bits', async () => {
      await wal.open()
      const last = 2 ** 32 - 1
      await wal.append(entries(last - 1, 1, 1))
      await wal.append({ ...entries(last, 2, 2), hardState: { term: last, votedFor: peer, commit: 1 } })
      for (const old of [entries(last - 1, 3, 3), { group, entries: [], fencingTerm: last - 1 }]) {
        await expect(wal.append(old)).rejects.toMatchObject({
          code: 'ERR_WAL_FENCED',
          details: { fencingTerm: last - 1, newest: last },
        })
      }
      expect(await codeOf(wal.append({ group, entries: [], fencingTerm: last + 1 }))).toBe('RangeError')
      expect(listOf((await reopen()).group(group))).toEqual([`${last - 1}/1`, `${last}/2`])
      expect(await codeOf(wal.append(entries(last - 1, 3, 3)))).toBe('ERR_WAL_FENCED')
      await wal.append(entries(last, 3, 3))
    })

    it("starts after a snapshot, with the same batch's HardState and entries, and only in its group", async () => {
      const other = new Uint8Array(16).fill(1)
      await reopen({ segmentBytes: 600 })
      await wal.append({ ...entries(1, 1, 3), group: other })
      await wal.append({ ...entries(2, 1, 9), hardState: { term: 2, votedFor: peer, commit: 4 } })
      const hardState = { term: 5, votedFor: undefined, commit: 7 }
      const snapshot = { index: 7, term: 4, time: 1234 }
      expect(
        await codeOf(wal.append({ group, snapshot: { ...snapshot, index: 3 }, entries: [], fencingTerm: 5 })),
      ).toBe('ERR_INVARIANT')
      await wal.append({ ...entries(5, 8, 9), hardState, snapshot })
      const expected = { hardState, baseIndex: 7, baseTerm: 4, baseTime: 1234 }
      expect(await codeOf(wal.read(group, 7, 7, 1))).toBe('RangeError')
      for (const rolled of [false, true]) {
        if (rolled) for (let index = 10; index < 30; index++) await wal.append(entries(5, index, index))
        const contents = await reopen({ segmentBytes: 600 })
        expect(contents.group(group)).toMatchObject(expected)
        expect(listOf(contents.group(group)).slice(0, 2)).toEqual(['5/8', '5/9'])
        expect(listOf(contents.group(other))).toEqual(['1/1', '1/2', '1/3'])
      }
      // The segments before the snapshot go once nobody needs them, and the base with its time stays known.
      await wal.compactTo(other, 3)
      const base = await wal.compactTo(group, 20)
      expect(base).toBeGreaterThan(10)
      expect((await reopen()).group(group)).toMatchObject({ baseIndex: base, baseTerm: 5, baseTime: 1000 + base })
    })

    it('compactionIndex() keeps what retention allows, and nothing above the index given', async () => {
      await wal.open()
      const list = [1, 2, 3, 4, 5].map((index) => entry(index, 1, new Uint8Array(100).fill(index)))
      await wal.append({ group, entries: list, fencingTerm: 1 })
      const at = (entriesMax: number, bytesMax: number, index = 5) =>
        wal.compactionIndex(group, index, { entriesMax, bytesMax })
      expect([at(2, 1e6), at(1e6, 200), at(1e6, 199), at(0, 0), at(9, 1e6)]).toEqual([3, 3, 4, 5, 0])
      expect(at(0, 0, 4)).toBe(4)
    })

    it('takes an append of nothing, which resolves after those before it', async () => {
      await wal.open()
      const order: string[] = []
      await Promise.all([
        wal.append(entries(1, 1, 1)).then(() => order.push('entry')),
        wal.append({ group, entries: [], fencingTerm: 1 }).then(() => order.push('nothing')),
      ])
      expect(order).toEqual(['entry', 'nothing'])
      await wal.append({ group, entries: [], fencingTerm: 1 })
      await wal.append(entries(1, 2, 2))
    })

    it('refuses a directory of another cluster or replica', async () => {
      await wal.open()
      await wal.append(entries(1, 1, 1))
      await wal.close()
      for (const foreign of [
        { ...identity, cluster: new Uint8Array(32) },
        { ...identity, peerId: new Uint8Array(16) },
      ]) {
        const other = await place.open({ identity: foreign })
        expect(await codeOf(other.open())).toBe('ERR_DATA_DIR_FOREIGN')
        await other.close()
      }
    })

    it('rejects after close()', async () => {
      await wal.open()
      const pending = wal.append(entries(1, 1, 1))
      await wal.close()
      await pending
      expect(await codeOf(wal.append(entries(1, 2, 2)))).toBe('ERR_STORAGE_CLOSED')
      expect(await codeOf(wal.read(group, 1, 1, 1))).toBe('ERR_STORAGE_CLOSED')
    })
  })
}
