/**
 * The simulator of the bare core from the command line:
 * `node test/simulation/core.ts [--seeds N] [--seed S] [--long] [--json]` runs seeds S … S + N − 1 and stops at the first
 * failure, with the last lines of its trace; `--trace` prints all of them, of one seed.
 *
 * With `--json` the last line is {@link SimulationReport}. Exit code 0: all passed, 1: one failed.
 */
import { runRaftSeed } from '@cipherlog/testkit'
import { parseArgs } from 'node:util'

/** What every simulator of this folder prints with `--json`. */
export interface SimulationReport {
  /** Seeds that were run, the failing one included. */
  readonly seeds: number
  readonly firstSeed: number
  /** How often things happened, faults included, over all seeds. */
  readonly counts: Readonly<Record<string, number>>
  readonly failure?: { readonly seed: number; readonly says: string }
}

if (import.meta.main) {
  const { values } = parseArgs({
    options: {
      seeds: { type: 'string', default: '200' },
      seed: { type: 'string', default: '1' },
      json: { type: 'boolean', default: false },
      long: { type: 'boolean', default: false },
      trace: { type: 'boolean', default: false },
    },
  })
  const scale = values.long ? 'long' : 'short'
  const report = run(Number(values.seed), values.trace ? 1 : Number(values.seeds), scale)
  if (values.json) {
    console.log(JSON.stringify(report))
  } else {
    const { seed } = report.failure ?? { seed: Number(values.seed) }
    const lines = values.trace || report.failure !== undefined ? traceOf(seed, scale) : []
    for (const line of values.trace ? lines : lines.slice(-60)) console.log(line)
    console.log(report.failure ?? 'all passed', report.counts)
  }
  process.exitCode = report.failure === undefined ? 0 : 1
}

/** What happened in a seed, up to its end or failure. */
function traceOf(seed: number, scale: 'short' | 'long'): string[] {
  const lines: string[] = []
  try {
    runRaftSeed(seed, scale, (line) => lines.push(line))
  } catch (error) {
    lines.push(String(error))
  }
  return lines
}

function run(firstSeed: number, seeds: number, scale: 'short' | 'long'): SimulationReport {
  const counts: Record<string, number> = {}
  for (let seed = firstSeed; seed < firstSeed + seeds; seed++) {
    try {
      for (const [what, count] of Object.entries(runRaftSeed(seed, scale))) counts[what] = (counts[what] ?? 0) + count
    } catch (error) {
      return { seeds: seed - firstSeed + 1, firstSeed, counts, failure: { seed, says: String(error) } }
    }
  }
  return { seeds, firstSeed, counts }
}
