import { errorCode, toHex } from '@cipherlog/core'
import { describe, expect, test } from 'vitest'
import { batchRoot } from '../batch/batch-root.ts'
import { leafHashes, recursiveRoot } from '../recursive-twin.fixture.ts'
import { emptyRoot } from '../verify/hashing.ts'
import { CompactRange } from './compact-range.ts'

const leaves = leafHashes(1000)

describe('CompactRange', () => {
  test('has the recursive twin’s root at every size from 0 to 300', () => {
    const range = new CompactRange()
    for (let size = 0; size <= 300; size++) {
      expect(range.size).toBe(size)
      expect(toHex(range.root())).toBe(toHex(recursiveRoot(leaves.slice(0, size))))
      range.append(leaves[size]!)
    }
  })

  test('visits every perfect subtree once, with its root', () => {
    const range = new CompactRange()
    const visited = new Map<string, string>()
    for (const leaf of leaves.slice(0, 77)) {
      range.append(leaf, (level, index, hash) => {
        expect(visited.has(`${level}/${index}`)).toBe(false)
        visited.set(`${level}/${index}`, toHex(hash))
      })
    }
    let count = 0
    for (let level = 0; 2 ** level <= 77; level++) {
      for (let index = 0; (index + 1) * 2 ** level <= 77; index++, count++) {
        const subtree = leaves.slice(index * 2 ** level, (index + 1) * 2 ** level)
        expect(visited.get(`${level}/${index}`)).toBe(toHex(recursiveRoot(subtree)))
      }
    }
    expect(visited.size).toBe(count)
  })

  test('folds its peaks below level 8 to merkletreejs’s root of the leaves since the last multiple of 256', () => {
    const range = new CompactRange()
    for (let size = 1; size <= 1000; size++) {
      range.append(leaves[size - 1]!)
      const tail = leaves.slice(size - (size % 256), size)
      if (tail.length === 0) expect(range.tailRoot()).toBeUndefined()
      else expect(toHex(range.tailRoot()!)).toBe(toHex(batchRoot(tail)))
    }
  })

  test('survives bytes at every size, and goes on from there', () => {
    const range = new CompactRange()
    for (let size = 0; size < 70; size++) {
      const copy = CompactRange.fromBytes(range.toBytes())
      copy.append(leaves[size]!)
      range.append(leaves[size]!)
      expect(copy.toBytes()).toEqual(range.toBytes())
      expect(copy.root()).toEqual(range.root())
    }
  })

  test('refuses bytes whose length does not follow from the size', () => {
    const range = new CompactRange()
    for (const leaf of leaves.slice(0, 5)) range.append(leaf)
    const bytes = range.toBytes()
    expect(bytes).toHaveLength(8 + 2 * 32)
    const code = (input: Uint8Array) => {
      try {
        CompactRange.fromBytes(input)
        return 'read'
      } catch (error) {
        return errorCode(error)
      }
    }
    expect(code(bytes)).toBe('read')
    expect(code(bytes.subarray(0, -1))).toBe('ERR_DECODE_COMPACT_RANGE')
    expect(code(new Uint8Array([...bytes, 0]))).toBe('ERR_DECODE_COMPACT_RANGE')
    expect(code(bytes.map((byte, i) => (i === 7 ? 4 : byte)))).toBe('ERR_DECODE_COMPACT_RANGE')
    expect(code(bytes.subarray(0, 7))).toBe('ERR_DECODE_COMPACT_RANGE')
    expect(code(new Uint8Array(8).fill(255))).toBe('ERR_DECODE_LIMIT')
  })

  test('refuses peaks that are not those of the size', () => {
    expect(() => CompactRange.fromPeaks(3, [leaves[0]!])).toThrow(RangeError)
    expect(() => CompactRange.fromPeaks(1, [leaves[0]!.subarray(1)])).toThrow(RangeError)
    for (const size of [-1, 0.5, 2 ** 53]) expect(() => CompactRange.fromPeaks(size, [])).toThrow(RangeError)
    expect(() => new CompactRange().append(new Uint8Array(31))).toThrow(RangeError)
  })

  test('counts past 32 bits', () => {
    const range = CompactRange.fromPeaks(2 ** 40, [leaves[0]!])
    const visited: number[] = []
    range.append(leaves[1]!, (level, index) => visited.push(level, index))
    range.append(leaves[2]!, (level, index) => visited.push(level, index))
    expect(visited).toEqual([0, 2 ** 40, 0, 2 ** 40 + 1, 1, 2 ** 39])
    expect(range.peaks).toHaveLength(2)
  })

  test('is unchanged after a visitor threw', () => {
    const range = new CompactRange()
    for (const leaf of leaves.slice(0, 3)) range.append(leaf)
    const before = range.toBytes()
    const failing = (level: number) => {
      if (level === 2) throw new Error('disk')
    }
    expect(() => range.append(leaves[3]!, failing)).toThrow('disk')
    expect(range.toBytes()).toEqual(before)
  })

  test('hands out copies: nobody can reach into it', () => {
    const range = new CompactRange()
    const leaf = leaves[0]!.slice()
    range.append(leaf)
    leaf.fill(0)
    range.peaks[0]!.fill(0)
    range.root().fill(0)
    range.tailRoot()!.fill(0)
    const copy = range.clone()
    copy.append(leaves[1]!)
    expect(range.size).toBe(1)
    expect(range.root()).toEqual(leaves[0])
    expect(new CompactRange().root()).not.toBe(emptyRoot)
  })
})
