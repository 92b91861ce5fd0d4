/** A load of so many callers, each of whom waits for its answer before it asks again. It ends by itself. */
import { percentile } from './bench.ts'

export interface Load {
  readonly callers: number
  /** No call starts after this time. */
  readonly ms: number
  /** Nor after so many. */
  readonly callsMax: number
}

export interface LoadResult<T> {
  readonly calls: number
  readonly seconds: number
  readonly p50Ms: number
  readonly p99Ms: number
  readonly answers: readonly T[]
}

/** Rejects with the first failure, once all callers have stopped. */
export async function closedLoop<T>(
  { callers, ms, callsMax }: Load,
  call: (n: number) => Promise<T>,
): Promise<LoadResult<T>> {
  const times: number[] = []
  const answers: T[] = []
  let started = 0
  let failed = false
  const begin = performance.now()
  const caller = async (): Promise<void> => {
    while (!failed && started < callsMax && performance.now() - begin < ms) {
      const start = performance.now()
      try {
        answers.push(await call(started++))
      } catch (error) {
        failed = true
        throw error
      }
      times.push(performance.now() - start)
    }
  }
  const outcomes = await Promise.allSettled(Array.from({ length: callers }, caller))
  const seconds = (performance.now() - begin) / 1000
  for (const outcome of outcomes) if (outcome.status === 'rejected') throw outcome.reason
  const sorted = Float64Array.from(times).sort()
  return { calls: times.length, seconds, p50Ms: percentile(sorted, 0.5), p99Ms: percentile(sorted, 0.99), answers }
}
