import { concatBytes, writeU32 } from '@cipherlog/core'
import { describe, expect, test } from 'vitest'
import { packTableBytes, parsePackTable, runsOf } from './packs.ts'

/** A table for data of these lengths, from slot 0 on. */
function tableOf(lengths: readonly number[]): { table: Uint8Array; fileBytes: number } {
  const table = new Uint8Array(packTableBytes)
  let end = packTableBytes
  lengths.forEach((length, slot) => {
    if (length === 0) return
    writeU32(table, slot * 8, end)
    writeU32(table, slot * 8 + 4, length)
    end += length
  })
  return { table, fileBytes: end }
}

const parse = (
  lengths: readonly number[],
  leaves = 256,
  options: { fileBytes?: number; slotBytesMax?: number } = {},
) => {
  const { table, fileBytes } = tableOf(lengths)
  return parsePackTable(table, { fileBytes, leaves, slotBytesMax: 100, ...options })
}
const refuses = (action: () => unknown, says: RegExp) =>
  expect(action).toThrow(
    expect.objectContaining({ code: 'ERR_AUDIT_PACK', message: expect.stringMatching(says) as string }),
  )

describe('parsePackTable()', () => {
  test('tells where each leaf’s data begins and where the last one’s ends; empty slots take no room', () => {
    const { offsets, usedBeyond } = parse([5, 0, 7], 3)
    expect(offsets).toEqual([2048, 2053, 2053, 2060])
    expect(usedBeyond).toBe(false)
    expect(parse([], 256).offsets).toEqual(Array.from({ length: 257 }, () => 2048))
  })

  test('data behind the leaves of the checkpoint is told apart, in the table or not yet', () => {
    expect(parse([5, 0, 7], 2)).toEqual({ offsets: [2048, 2053, 2053], usedBeyond: true })
    expect(parse([5, 0, 7], 3, { fileBytes: 2061 }).usedBeyond).toBe(true)
  })

  test('a finished pack ends where its file does', () => {
    refuses(() => parse([5], 256, { fileBytes: 2054 }), /1 bytes follow/)
  })

  test('data must lie inside the file and be no larger than a leaf’s may be', () => {
    refuses(() => parse([5], 1, { fileBytes: 2052 }), /slot 0 lies behind the end/)
    expect(() => parse([100], 1)).not.toThrow()
    refuses(() => parse([3, 101], 2), /slot 1 has 101 bytes/)
  })

  test.each<[string, (table: Uint8Array) => void]>([
    ['a gap', (table) => writeU32(table, 8, 2054)],
    ['an overlap', (table) => writeU32(table, 8, 2052)],
    ['an offset into the table', (table) => writeU32(table, 8, 0)],
    ['an offset without a length', (table) => writeU32(table, 8 * 7, 2060)],
    ['a slot out of order', (table) => table.copyWithin(8 * 9, 0, 8)],
  ])('refuses %s', (_, change) => {
    const { table, fileBytes } = tableOf([5, 7])
    change(table)
    refuses(() => parsePackTable(table, { fileBytes, leaves: 256, slotBytesMax: 100 }), /does not follow/)
  })
})

describe('runsOf()', () => {
  const packOf = (...lengths: number[]) => {
    const { table, fileBytes } = tableOf(lengths)
    const options = { fileBytes, leaves: lengths.length, slotBytesMax: 8 << 20 }
    return { path: 'tile/body/000', offsets: parsePackTable(table, options).offsets }
  }
  const mebibyte = 1 << 20

  test('cuts at 4 MiB of all packs together, covers every leaf once, and gives a larger leaf a run of its own', () => {
    const bodies = packOf(mebibyte, mebibyte, mebibyte, 8 * mebibyte, 0, mebibyte)
    expect(runsOf([bodies], 6)).toEqual([
      [0, 3],
      [3, 4],
      [4, 6],
    ])
    expect(runsOf([bodies, packOf(mebibyte, mebibyte, 1, 1, 1, 1)], 6)).toEqual([
      [0, 2],
      [2, 3],
      [3, 4],
      [4, 6],
    ])
    expect(runsOf([packOf(4 * mebibyte), packOf(0)], 1)).toEqual([[0, 1]])
  })
})

test('tables are big-endian, and a slot says offset before length', () => {
  const { table } = tableOf([4])
  expect(table.subarray(0, 8)).toEqual(concatBytes(Uint8Array.of(0, 0, 8, 0), Uint8Array.of(0, 0, 0, 4)))
})
