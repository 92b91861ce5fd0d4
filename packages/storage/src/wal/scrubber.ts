/**
 * Rereads the cold part of a log at a bounded rate, so that damage is found while peers can still mend it. The host
 * calls `tick` now and then; nothing here has a timer.
 */
import type { Clock } from '@cipherlog/core'
import { type Wal, type WalScrub } from './wal.ts'

export interface ScrubberOptions {
  readonly clock: Pick<Clock, 'monotonic'>
  /** Reread on average; a pass over 10 GiB at 1 MiB/s takes three hours. */
  readonly bytesPerSecond: number
  /** Told of every step that found something: holes to repair, headers to alert about. */
  readonly onFound: (found: WalScrub) => void
}

export interface Scrubber {
  /**
   * Rereads what the time since the last tick allows, a second's worth at most; resolves when that is done. Does
   * nothing while an earlier call is under way.
   * @throws as {@link Wal.scrub}.
   */
  tick(): Promise<void>
  /** Passes over the whole log that are complete. */
  readonly passes: number
}

export function createScrubber(wal: Pick<Wal, 'scrub'>, { clock, bytesPerSecond, onFound }: ScrubberOptions): Scrubber {
  let passes = 0
  let last = clock.monotonic()
  /** Bytes that may be reread now; negative after a large record. */
  let budget = 0
  let busy = false
  return {
    get passes() {
      return passes
    },
    async tick() {
      if (busy) return
      const now = clock.monotonic()
      budget = Math.min(bytesPerSecond, budget + ((now - last) * bytesPerSecond) / 1000)
      last = now
      if (budget < 1) return
      busy = true
      try {
        const found = await wal.scrub(budget)
        budget -= found.bytes
        if (found.finished) {
          passes++
          // A log without cold segments is looked at once a second, not at every tick.
          budget = Math.min(budget, 0)
        }
        if (found.mended > 0 || found.holes.length > 0 || found.headersLost > 0) onFound(found)
      } finally {
        busy = false
      }
    },
  }
}
