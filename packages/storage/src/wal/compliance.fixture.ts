/** What every log must do, whatever it stands on. */
import { createHash } from 'node:crypto'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { errorCode, utf8 } from '@cipherlog/core'
import { segmentNames } from './segment.ts'
import { encodeV1Segment } from './v1.fixture.ts'
import { type Wal, type WalAppend, type WalEntry, type WalGroupContents, type WalOptions } from './wal.ts'

export const group = new Uint8Array(16)
export const identity = { cluster: new Uint8Array(32).fill(7), peerId: new Uint8Array(16).fill(9) }
export const peer = '09'.repeat(16)

const { wal: firstWal, refs: firstRefs } = segmentNames(0)

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
  /** A file of the log, between two opens. */
  readFile(name: string): Promise<Uint8Array>
  writeFile(name: string, bytes: Uint8Array): Promise<void>
  clear(): Promise<void>
}

/** Flips a bit of byte `at` of a file, counted from its end if negative. */
export async function flip(place: WalPlace, name: string, at: number): Promise<void> {
  const bytes = await place.readFile(name)
  await place.writeFile(name, bytes.with(at, bytes.at(at)! ^ 4))
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
    /** Name of the last segment that has a record. */
    async function lastSegment(): Promise<string> {
      for (let first = 60, bytes; ; first--) {
        const name = segmentNames(first).wal
        bytes = await place.readFile(name).catch(() => undefined)
        if (bytes !== undefined) return name
      }
    }
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

    it('opens with a hole for each damaged payload, reads around it, and fills it from a peer', async () => {
      await wal.open()
      await wal.append({ ...entries(2, 1, 4), hardState: { term: 2, votedFor: peer, commit: 0 } })
      await wal.close()
      // 512 bytes of segment header, 127 of a HardState, then entries of 107 bytes each.
      for (const index of [2, 4]) await flip(place, firstWal, 512 + 127 + (index - 1) * 107 + 101)
      for (let round = 0; round < 2; round++) {
        const contents = await reopen()
        expect(contents.damage.map(({ offset, outcome }) => [offset, outcome])).toEqual([
          [512 + 127 + 107, 'hole'],
          [512 + 127 + 3 * 107, 'hole'],
        ])
        expect(listOf({ refs: contents.group(group).holes })).toEqual(['2/2', '2/4'])
        expect(listOf(contents.group(group))).toEqual(['2/1', '2/2', '2/3', '2/4'])
        await expect(wal.read(group, 1, 3, 1e6)).rejects.toMatchObject({ code: 'ERR_WAL_PAYLOAD_DAMAGED', index: 2 })
        expect(await wal.read(group, 3, 3, 1e6)).toEqual(entries(2, 3, 3).entries)
      }
      for (const wrong of [utf8('2/3'), utf8('2/22'), new Uint8Array(0)]) {
        expect(await codeOf(wal.repair(group, 2, wrong))).toBe('ERR_WAL_REPAIR_MISMATCH')
      }
      expect(await codeOf(wal.repair(group, 5, utf8('2/5')))).toBe('RangeError')
      await Promise.all([
        wal.repair(group, 2, utf8('2/2')),
        wal.append(entries(2, 5, 5)),
        wal.repair(group, 4, utf8('2/4')),
      ])
      expect(wal.holes(group)).toEqual([])
      await wal.repair(group, 2, utf8('2/2'))
      expect(await wal.read(group, 1, 5, 1e6)).toEqual(entries(2, 1, 5).entries)
      const after = await reopen()
      expect([after.damage, after.group(group).holes]).toEqual([[], []])
      expect(await wal.read(group, 1, 5, 1e6)).toEqual(entries(2, 1, 5).entries)
    })

    it('an entry that is a hole can be truncated and compacted like any other', async () => {
      await reopen({ segmentBytes: 600 })
      for (let index = 1; index <= 12; index++) await wal.append(entries(1, index, index))
      await wal.close()
      await flip(place, firstWal, 512 + 101)
      const last = await lastSegment()
      await flip(place, last, -1 - 4)
      expect((await reopen({ segmentBytes: 600 })).group(group).holes.map(({ index }) => index)).toEqual([1, 12])
      expect(await wal.compactTo(group, 8)).toBeGreaterThan(0)
      await wal.append({ ...entries(2, 12, 12), truncateFrom: 12 })
      expect(wal.holes(group)).toEqual([])
      expect((await reopen({ segmentBytes: 600 })).group(group).holes).toEqual([])
    })

    it('does about damage what the policy says, and changes nothing where it must not', async () => {
      await wal.open()
      await wal.append({ ...entries(2, 1, 3), hardState: { term: 2, votedFor: peer, commit: 2 } })
      await wal.close()
      await flip(place, firstWal, 512 + 127 + 107 + 101)
      const before = await place.readFile(firstWal)
      await expect(reopen({ onDamage: 'refuseStart' })).rejects.toMatchObject({
        code: 'ERR_WAL_CORRUPT',
        details: { segment: firstWal, offset: 512 + 127 + 107 },
      })
      const contents = await reopen({ onDamage: 'alertAndContinue' })
      expect(contents.readOnly).toBe(true)
      expect(contents.group(group).hardState).toEqual({ term: 2, votedFor: peer, commit: 2 })
      expect(await wal.read(group, 3, 3, 1)).toEqual(entries(2, 3, 3).entries)
      for (const write of [
        wal.append(entries(2, 4, 4)),
        wal.repair(group, 2, utf8('2/2')),
        wal.compactTo(group, 1),
        wal.scrub(1),
        wal.settle(group, { hardState: { term: 3, votedFor: undefined, commit: 0 }, through: { index: 3, term: 2 } }),
      ]) {
        expect(await codeOf(write)).toBe('ERR_WAL_READ_ONLY')
      }
      await wal.close()
      expect(await place.readFile(firstWal)).toEqual(before)
      expect((await reopen()).readOnly).toBe(false)
      await wal.repair(group, 2, utf8('2/2'))
      for (const onDamage of ['refuseStart', 'alertAndContinue'] as const) {
        expect(await reopen({ onDamage })).toMatchObject({ readOnly: false, damage: [] })
      }
      // A torn tail: only one policy minds.
      await wal.close()
      const whole = await place.readFile(firstWal)
      const end = whole.findLastIndex((byte) => byte !== 0) + 1
      await place.writeFile(firstWal, Uint8Array.of(...whole.subarray(0, end), 1, 2, 3))
      expect(await codeOf(reopen({ onDamage: 'refuseStart' }))).toBe('ERR_WAL_CORRUPT')
      expect(await reopen({ onDamage: 'alertAndContinue' })).toMatchObject({
        readOnly: false,
        repairs: { bytesCut: 3 },
      })
    })

    it('in doubt after a lost header: keeps what is known, learns the rest again, and goes on once settled', async () => {
      await wal.open()
      await wal.append({ ...entries(2, 1, 5), hardState: { term: 2, votedFor: peer, commit: 1 } })
      await wal.append({ ...entries(2, 6, 6), hardState: { term: 3, votedFor: peer, commit: 1 }, fencingTerm: 3 })
      await wal.close()
      await flip(place, firstWal, 512 + 127 + 2 * 107 + 20)
      await flip(place, firstRefs, 512 + 3 * 100 + 20)
      const doubt = { reason: 'headersLost', fromIndex: 3, termUnknown: false, termAtLeast: 3 }
      const contents = (await reopen()).group(group)
      expect(contents).toMatchObject({ doubt, hardState: { term: 3, votedFor: peer, commit: 1 } })
      expect(listOf(contents)).toEqual(['2/1', '2/2'])
      expect(listOf({ refs: contents.doubt!.known })).toEqual(['2/4', '2/5', '2/6'])
      expect(await wal.read(group, 4, 5, 1e6)).toEqual(entries(2, 4, 5).entries)
      // A leader of term 5 has another entry 5.
      await wal.append({ ...entries(2, 3, 4), fencingTerm: 5 })
      expect(
        await codeOf(
          wal.append({ group, entries: [], hardState: { term: 5, votedFor: undefined, commit: 1 }, fencingTerm: 5 }),
        ),
      ).toBe('ERR_INVARIANT')
      expect(await wal.compactTo(group, 2)).toBe(0)
      expect(listOf((await reopen()).group(group))).toEqual(['2/1', '2/2', '2/3', '2/4'])
      await wal.append(entries(5, 5, 5))
      const through = { index: 5, term: 5 }
      for (const [wrong, where] of [
        [{ term: 4, votedFor: undefined, commit: 1 }, through],
        [{ term: 5, votedFor: 'ff'.repeat(16), commit: 1 }, through],
        [{ term: 6, votedFor: undefined, commit: 0 }, through],
        [
          { term: 6, votedFor: undefined, commit: 1 },
          { index: 5, term: 2 },
        ],
        [
          { term: 6, votedFor: undefined, commit: 1 },
          { index: 6, term: 5 },
        ],
      ] as const) {
        expect(await codeOf(wal.settle(group, { hardState: wrong, through: where }))).toBe('ERR_INVARIANT')
      }
      const hardState = { term: 6, votedFor: undefined, commit: 4 }
      await wal.settle(group, { hardState, through })
      expect(await codeOf(wal.settle(group, { hardState, through }))).toBe('ERR_INVARIANT')
      await wal.append(entries(6, 6, 6))
      for (let round = 0; round < 2; round++) {
        const after = (await reopen()).group(group)
        expect(after).toMatchObject({ doubt: undefined, hardState })
        expect(listOf(after)).toEqual(['2/1', '2/2', '2/3', '2/4', '5/5', '6/6'])
        expect((await wal.read(group, 1, 6, 1e6)).length).toBe(6)
      }
    })

    it('in doubt after a lost tail: its term is unknown, in groups that nobody has heard of too', async () => {
      await wal.open()
      await wal.append({ ...entries(2, 1, 2), hardState: { term: 2, votedFor: peer, commit: 1 } })
      await wal.append({ group, entries: [], hardState: { term: 9, votedFor: peer, commit: 1 }, fencingTerm: 9 })
      await wal.close()
      await flip(place, firstWal, 512 + 127 + 2 * 107 + 20)
      await flip(place, firstRefs, 512 + 3 * 100 + 20)
      const other = new Uint8Array(16).fill(1)
      for (let round = 0; round < 2; round++) {
        const contents = await reopen()
        const doubt = { reason: 'tailUnproven', termUnknown: true, known: [] }
        expect(contents.group(group).doubt).toEqual({ ...doubt, fromIndex: 3, termAtLeast: 2 })
        expect(contents.group(other).doubt).toEqual({ ...doubt, fromIndex: 1, termAtLeast: 0 })
      }
      // What is learned in doubt says nothing about the lost term.
      await wal.append(entries(2, 3, 3))
      expect((await reopen()).group(group).doubt).toMatchObject({ termUnknown: true })
      await wal.append({ group, truncateFrom: 3, entries: [], fencingTerm: 2 })
      const hardState = { term: 9, votedFor: peer, commit: 1 }
      await wal.settle(group, { hardState, through: { index: 2, term: 2 } })
      let contents = await reopen()
      expect(contents.group(group)).toMatchObject({ doubt: undefined, hardState })
      expect(contents.group(other).doubt?.termUnknown).toBe(true)
      await wal.append({
        group: other,
        snapshot: { index: 4, term: 2, time: 7 },
        entries: [entry(5, 3)],
        fencingTerm: 3,
      })
      await wal.settle(other, { hardState: { ...hardState, commit: 4 }, through: { index: 4, term: 2 } })
      await wal.append(entries(9, 3, 3))
      contents = await reopen()
      expect(contents.group(group)).toMatchObject({ doubt: undefined, hardState })
      expect(contents.group(other)).toMatchObject({ doubt: undefined, baseIndex: 4, baseTime: 7, refs: [{ index: 5 }] })
    })

    it('scrub() finds what was damaged in cold segments, mends headers, and names holes once', async () => {
      await reopen({ segmentBytes: 1000, cacheBytesMax: 0 })
      for (let index = 1; index <= 12; index++) await wal.append(entries(1, index, index))
      await wal.close()
      const good = [await place.readFile(firstWal), await place.readFile(firstRefs)]
      await reopen({ segmentBytes: 1000, cacheBytesMax: 0 })
      expect(await wal.scrub(1e6)).toMatchObject({ mended: 0, holes: [], headersLost: 0, finished: true })
      await flip(place, firstWal, 512 + 20)
      await flip(place, firstRefs, 512 + 100 + 20)
      expect(await wal.scrub(1)).toMatchObject({ mended: 1, finished: false })
      expect(await wal.scrub(1)).toMatchObject({ mended: 1, finished: false })
      expect(await place.readFile(firstWal)).toEqual(good[0])
      expect(await place.readFile(firstRefs)).toEqual(good[1])
      await flip(place, firstWal, 512 + 107 + 101)
      const holes = [{ group, ref: entry(2, 1).ref }]
      expect(await wal.scrub(1e6)).toMatchObject({ holes: [], finished: true })
      expect(await wal.scrub(1e6)).toMatchObject({ holes, finished: true })
      expect(await wal.scrub(1e6)).toMatchObject({ holes: [], finished: true })
      expect(listOf({ refs: wal.holes(group) })).toEqual(['1/2'])
      await wal.repair(group, 2, utf8('1/2'))
      expect(await place.readFile(firstWal)).toEqual(good[0])
      for (const [name, at] of [
        [firstWal, 512 + 20],
        [firstRefs, 512 + 20],
      ] as const)
        await flip(place, name, at)
      expect((await wal.scrub(1e6)).headersLost).toBeGreaterThan(0)
    })

    it('reads and repairs segments of version 1, and goes on in version 2', async () => {
      const log = [
        { hardState: { term: 3, votedFor: peer, commit: 2 } },
        ...[1, 2, 3].map((index) => ({ entry: entry(index, 3) })),
      ]
      const files = encodeV1Segment(log, group, identity)
      await place.writeFile(firstWal, files.wal)
      await place.writeFile(firstRefs, files.refs)
      await flip(place, firstWal, 20)
      await flip(place, firstWal, 512 + 92 + 23 + 4 + 99 + 93)
      await flip(place, firstRefs, 512 + 92 + 40)
      const contents = await reopen()
      expect(contents.damage.map(({ outcome }) => outcome)).toEqual(['hole', 'mended'])
      expect(contents.group(group).hardState).toEqual({ term: 3, votedFor: peer, commit: 2 })
      expect(listOf(contents.group(group))).toEqual(['3/1', '3/2', '3/3'])
      await wal.repair(group, 2, utf8('3/2'))
      await wal.append({ ...entries(4, 4, 5), hardState: { term: 4, votedFor: undefined, commit: 3 } })
      const after = await reopen()
      expect([await place.readFile(firstWal), await place.readFile(firstRefs)]).toEqual([files.wal, files.refs])
      expect(after.damage).toEqual([])
      const expected = [...entries(3, 1, 3).entries, ...entries(4, 4, 5).entries]
      expect(await wal.read(group, 1, 5, 1e6)).toEqual(expected)
      expect(await wal.scrub(1e6)).toMatchObject({ mended: 0, holes: [], finished: true })
      expect(await wal.compactTo(group, 3)).toBe(3)
      expect((await reopen()).group(group)).toMatchObject({ baseIndex: 3, baseTerm: 3, hardState: { term: 4 } })
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
