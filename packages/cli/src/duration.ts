/** Durations as people write them: `500ms`, `60s`, `5m`, `36h`, `7d`. */
import { UsageError } from './exit-codes.ts'

const unitMs: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 }
/** Longer than any duration in our formats: a year. */
const durationMsMax = 31_536_000_000

/** Milliseconds. @throws UsageError `ERR_USAGE`, also above 365 days. */
export function parseDuration(text: string): number {
  const match = /^(\d{1,12})(ms|s|m|h|d)$/.exec(text)
  const ms = match === null ? Number.NaN : Number(match[1]) * unitMs[match[2]!]!
  if (Number.isNaN(ms)) throw new UsageError(`${JSON.stringify(text)} is not a duration; write it like 60s, 5m or 2h.`)
  if (ms > durationMsMax) throw new UsageError(`${text} is longer than 365 days, the longest that a log takes.`)
  return ms
}

/** The coarsest exact unit: 90000 → `90s`. */
export function formatDuration(ms: number): string {
  for (const unit of ['d', 'h', 'm', 's']) {
    const size = unitMs[unit]!
    if (ms >= size && ms % size === 0) return `${ms / size}${unit}`
  }
  return `${ms}ms`
}
