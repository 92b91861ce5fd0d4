/** What a bench is: it measures, round by round, and answers with tables. */
import { type Table } from './report.ts'

export interface Bench {
  readonly name: string
  /** One line for people who choose. */
  readonly about: string
  run(context: BenchContext): Promise<Table[]>
}

export interface BenchContext {
  /** How often everything is measured; systems that are compared take turns within a round. */
  readonly rounds: number
  /** Only to see that it works: few commands, figures that mean nothing. */
  readonly quick: boolean
  /** A folder of its own, removed afterwards. */
  readonly folder: string
  /** Whatever is started is deferred here, so that it ends when the bench fails or is interrupted too. */
  readonly scope: AsyncDisposableStack
  /** Where the bench stands. */
  say(text: string): void
}

/** Runs in an order that turns around with each round, so that neither side always goes first. */
export async function inTurns(round: number, sides: readonly (() => Promise<void>)[]): Promise<void> {
  for (const side of round % 2 === 0 ? sides : sides.toReversed()) await side()
}

/** @param sorted - ascending, not empty. @param fraction - 0.5 is the median. */
export function percentile(sorted: ArrayLike<number>, fraction: number): number {
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * fraction))]!
}
