import { InvariantViolation, toHex } from '@cipherlog/core'
import { describe, expect, test } from 'vitest'
import { buildLog } from '../log.fixture.ts'
import { leafHashes, recursiveRoot } from '../recursive-twin.fixture.ts'
import { CompactRange } from '../tree/compact-range.ts'
import { emptyRoot } from '../verify/hashing.ts'
import { assertBatchRoot, batchLeavesMax, batchRoot, crossCheckTile, rootOfBatch } from './batch-root.ts'

const leaves = leafHashes(600)

describe('batch roots', () => {
  test('are RFC 6962 roots, sizes 0 to 256', () => {
    for (let size = 0; size <= 256; size++) {
      const batch = leaves.slice(0, size)
      expect(toHex(batchRoot(batch))).toBe(toHex(recursiveRoot(batch)))
      expect(toHex(rootOfBatch(batch))).toBe(toHex(recursiveRoot(batch)))
    }
  })

  test('of no leaves are SHA-256 of nothing, not merkletreejs’s empty answer', () => {
    expect(batchRoot([])).toEqual(emptyRoot)
    expect(batchRoot([])).not.toBe(emptyRoot)
  })

  test('distinguish leaf order and repeated leaves', () => {
    const [a, b, c] = leaves as [Uint8Array, Uint8Array, Uint8Array]
    const roots = [
      [a, b, c],
      [b, a, c],
      [a, b, c, c],
      [a, b],
      [a, b, b],
    ].map((batch) => toHex(batchRoot(batch)))
    expect(new Set(roots).size).toBe(5)
  })

  test(`take ${batchLeavesMax} leaves of 32 bytes and not one more`, () => {
    expect(() => batchRoot(leaves.slice(0, 257))).toThrow(RangeError)
    expect(() => batchRoot([leaves[0]!, leaves[1]!.subarray(1)])).toThrow(RangeError)
  })

  test('are plain Uint8Arrays, and leave the leaves alone, Buffers and views alike', () => {
    const pool = new Uint8Array(100).fill(7)
    const view = pool.subarray(33, 65)
    const batch = [view, Buffer.from(leaves[1]!)]
    expect(batchRoot(batch).constructor).toBe(Uint8Array)
    expect(toHex(batchRoot(batch))).toBe(toHex(recursiveRoot([new Uint8Array(32).fill(7), leaves[1]!])))
    expect(pool).toEqual(new Uint8Array(100).fill(7))
    batchRoot([leaves[0]!]).fill(0)
    expect(leaves[0]).toEqual(leafHashes(1)[0])
  })

  test('of a leaf that spells hex are taken as bytes', () => {
    const hex = new TextEncoder().encode('deadbeef'.repeat(4))
    expect(batchRoot([hex])).toEqual(hex)
  })

  test('of a full tile are the log’s hash one tile level above', () => {
    const log = buildLog(512)
    for (const tile of [0, 1]) {
      const hashes = log.tiles.get(`0/${tile}`)!
      expect(toHex(crossCheckTile(hashes))).toBe(toHex(log.tiles.get('1/0')![tile]!))
    }
    expect(() => crossCheckTile(leaves.slice(0, 255))).toThrow(RangeError)
  })

  test('of an unaligned batch are no node of the log’s tree', () => {
    const nodes = new Set<string>()
    const range = new CompactRange()
    for (const leaf of leaves.slice(0, 300)) range.append(leaf, (_level, _index, hash) => nodes.add(toHex(hash)))
    expect(nodes.has(toHex(batchRoot(leaves.slice(64, 128))))).toBe(true)
    for (const [from, to] of [
      [1, 3],
      [5, 13],
      [100, 228],
      [255, 257],
    ] as const) {
      expect(nodes.has(toHex(batchRoot(leaves.slice(from, to))))).toBe(false)
    }
  })

  test('that differ from their twin stop the replica, with both as evidence', () => {
    const batch = leaves.slice(0, 9)
    assertBatchRoot(batch, recursiveRoot(batch))
    const other = recursiveRoot(leaves.slice(0, 10))
    const stop = expect.objectContaining({
      code: 'ERR_INVARIANT',
      details: { leafCount: 9, batchRoot: toHex(recursiveRoot(batch)), twinRoot: toHex(other) },
    })
    expect(() => assertBatchRoot(batch, other)).toThrow(stop)
    expect(() => assertBatchRoot(batch, emptyRoot)).toThrow(InvariantViolation)
  })
})
