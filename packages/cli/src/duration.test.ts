import { describe, expect, test } from 'vitest'
import { formatDuration, parseDuration } from './duration.ts'

describe('parseDuration()', () => {
  test.each([
    ['0s', 0],
    ['500ms', 500],
    ['60s', 60_000],
    ['5m', 300_000],
    ['36h', 129_600_000],
    ['365d', 31_536_000_000],
  ])('reads %s as %i ms', (text, ms) => {
    expect(parseDuration(text)).toBe(ms)
  })

  test.each(['', '60', 's', '-5s', '1.5h', '5 m', '5M', '1h30m', '366d', '1e3s', '9999999999999ms'])(
    'refuses %j with what it expects',
    (text) => {
      expect(() => parseDuration(text)).toThrow(expect.objectContaining({ code: 'ERR_USAGE' }) as Error)
    },
  )
})

test('formatDuration() takes the coarsest exact unit', () => {
  expect([0, 999, 60_000, 90_000, 86_400_000].map(formatDuration)).toEqual(['0ms', '999ms', '1m', '90s', '1d'])
})
