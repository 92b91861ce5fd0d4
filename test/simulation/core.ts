/**
 * The simulator of the bare core from the command line:
 * `node test/simulation/core.ts [--seeds N] [--seed S] [--json]` runs seeds S … S + N − 1 and stops at the first failure.
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
    },
  })
  const report = run(Number(values.seed), Number(values.seeds))
  if (values.json) console.log(JSON.stringify(report))
  else console.log(report.failure ?? 'all passed', report.counts)
  process.exitCode = report.failure === undefined ? 0 : 1
}

function run(firstSeed: number, seeds: number): SimulationReport {
  const counts: Record<string, number> = {}
  for (let seed = firstSeed; seed < firstSeed + seeds; seed++) {
    try {
      for (const [what, count] of Object.entries(runRaftSeed(seed))) counts[what] = (counts[what] ?? 0) + Number(count)
    } catch (error) {
      return { seeds: seed - firstSeed + 1, firstSeed, counts, failure: { seed, says: String(error) } }
    }
  }
  return { seeds, firstSeed, counts }
}
