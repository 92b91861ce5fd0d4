import { describe, expect, it } from 'vitest'
import { createScrubber } from './scrubber.ts'
import { type WalScrub } from './wal.ts'

function scrubbed(bytes: number, more: Partial<WalScrub> = {}): WalScrub {
  return { bytes, mended: 0, holes: [], headersLost: 0, finished: false, ...more }
}

/** A scrubber of a log that rereads whole records of `recordBytes`, on a clock that stands still. */
function setUp(recordBytes: number) {
  let now = 5_000
  const asked: number[] = []
  const found: WalScrub[] = []
  let next: WalScrub | undefined
  const scrubber = createScrubber(
    {
      async scrub(bytesMax) {
        asked.push(bytesMax)
        const result = next ?? scrubbed(Math.ceil(bytesMax / recordBytes) * recordBytes)
        next = undefined
        return result
      },
    },
    { clock: { monotonic: () => now }, bytesPerSecond: 1_000, onFound: (one) => found.push(one) },
  )
  return {
    asked,
    found,
    scrubber,
    answer: (one: WalScrub) => (next = one),
    async after(ms: number) {
      now += ms
      await scrubber.tick()
    },
  }
}

describe('createScrubber()', () => {
  it('rereads as much as the time allows, and pays for large records afterwards', async () => {
    const { asked, after } = setUp(1_500)
    await after(0)
    await after(100)
    for (let i = 0; i < 14; i++) await after(100)
    expect(asked).toEqual([100])
    await after(100)
    expect(asked).toEqual([100, 100])
    // A pause earns one second, not all of it.
    await after(60_000)
    expect(asked).toEqual([100, 100, 1_000])
  })

  it('does one thing at a time', async () => {
    const { asked, scrubber, after } = setUp(100)
    const [first] = [after(100), scrubber.tick(), scrubber.tick()]
    await first
    expect(asked.length).toBe(1)
  })

  it('counts passes, and tells only of steps that found something', async () => {
    const { found, scrubber, after, answer } = setUp(100)
    const damaged = scrubbed(100, { mended: 1 })
    answer(damaged)
    await after(100)
    await after(100)
    expect(found).toEqual([damaged])
    answer(scrubbed(0, { finished: true }))
    await after(100)
    expect([found.length, scrubber.passes]).toEqual([1, 1])
  })
})
