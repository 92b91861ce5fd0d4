import { describe, expect, test } from 'vitest'
import { buildLog } from '../log.fixture.ts'
import { tileSlot, tileWidth } from './tile-hashes.ts'

describe('tiles', () => {
  test('hold the nodes of tree levels 0, 8, 16, …', () => {
    expect(tileSlot(0, 0)).toEqual({ tileLevel: 0, tileIndex: 0, slot: 0 })
    expect(tileSlot(0, 257)).toEqual({ tileLevel: 0, tileIndex: 1, slot: 1 })
    expect(tileSlot(8, 273)).toEqual({ tileLevel: 1, tileIndex: 1, slot: 17 })
    expect(tileSlot(16, 0)).toEqual({ tileLevel: 2, tileIndex: 0, slot: 0 })
    for (const level of [1, 7, 9, 15]) expect(tileSlot(level, 0)).toBeUndefined()
  })

  test('of size 256 are tile/0/000 and tile/1/000.p/1', () => {
    expect([tileWidth(0, 0, 256), tileWidth(0, 1, 256), tileWidth(1, 0, 256), tileWidth(2, 0, 256)]).toEqual([
      256, 0, 1, 0,
    ])
  })

  test('of size 70,000 are 273 full and 112 wide, 256 and 17, and 1', () => {
    const widths = (level: number, count: number) =>
      Array.from({ length: count }, (_, index) => tileWidth(level, index, 70_000))
    expect(widths(0, 275)).toEqual([...Array.from({ length: 273 }, () => 256), 112, 0])
    expect(widths(1, 3)).toEqual([256, 17, 0])
    expect(widths(2, 2)).toEqual([1, 0])
    expect(widths(3, 1)).toEqual([0])
  })

  test('filled by a compact range are exactly as wide as the size says', () => {
    for (const size of [1, 255, 256, 257, 700]) {
      const { tiles } = buildLog(size)
      for (const [key, hashes] of tiles) {
        const [level, index] = key.split('/').map(Number)
        expect(hashes).toHaveLength(tileWidth(level!, index!, size))
      }
    }
  })
})
