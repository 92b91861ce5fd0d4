import { errorCode } from '@cipherlog/core'
import { describe, expect, test } from 'vitest'
import { bodyPath, bundlePath, entriesPath, parseTilePath, tilePath } from './tile-path.ts'

describe('tile paths', () => {
  test('the examples of c2sp.org/tlog-tiles', () => {
    expect(tilePath(0, 1234067)).toBe('tile/0/x001/x234/067')
    expect(tilePath(1, 5)).toBe('tile/1/005')
    expect(tilePath(0, 273, 112)).toBe('tile/0/273.p/112')
    expect(entriesPath(0)).toBe('tile/entries/000')
    expect(entriesPath(999, 1)).toBe('tile/entries/999.p/1')
    expect(bundlePath(1000)).toBe('tile/bundle/x001/000')
    expect(bodyPath(0)).toBe('tile/body/000')
  })

  test('parse to what they were made of', () => {
    for (const index of [0, 1, 999, 1000, 1_000_000, 1_234_067, Number.MAX_SAFE_INTEGER]) {
      for (const width of [1, 255, 256]) {
        expect(parseTilePath(tilePath(6, index, width))).toEqual({ kind: 'hashes', level: 6, index, width })
        expect(parseTilePath(entriesPath(index, width))).toEqual({ kind: 'entries', index, width })
      }
      expect(parseTilePath(bundlePath(index))).toEqual({ kind: 'bundle', index })
      expect(parseTilePath(bodyPath(index))).toEqual({ kind: 'body', index })
    }
  })

  test.each([
    '',
    'checkpoint',
    'tile/0/5',
    'tile/0/0005',
    'tile/0/x000/005',
    'tile/0/x01/005',
    'tile/0/001/005',
    'tile/0/x001/x005',
    'tile/00/005',
    'tile/01/005',
    'tile/64/005',
    'tile/-1/005',
    'tile/8/0/005.p/0',
    'tile/0/005.p/0',
    'tile/0/005.p/01',
    'tile/0/005.p/256',
    'tile/0/005.p/257',
    'tile/0/005.p/',
    'tile/0/005/',
    '/tile/0/005',
    'tile/0/005\n',
    'tile/0/../005',
    'tile/other/005',
    'tile/bundle/005.p/7',
    'tile/body/005.p/7',
    'tile/0/x009/x007/x199/x254/x740/992',
    'tile/0/x001/x000/x000/x000/x000/x000/000',
  ])('refuse %j', (path) => {
    let code: string | undefined
    try {
      parseTilePath(path)
    } catch (error) {
      code = errorCode(error)
    }
    expect(code).toBe('ERR_DECODE_TILE_PATH')
  })

  test('are not made of levels, indexes and widths that do not exist', () => {
    for (const level of [-1, 64, 0.5]) expect(() => tilePath(level, 0)).toThrow(RangeError)
    for (const index of [-1, 0.5, 2 ** 53]) expect(() => bundlePath(index)).toThrow(RangeError)
    for (const width of [0, 257, 1.5]) expect(() => entriesPath(0, width)).toThrow(RangeError)
  })
})
