/**
 * The whole-system simulator over the seeds of a pull request, in processes of its own: it replaces globals, and two
 * of them share two processors.
 */
import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { missingKinds } from './simulation/kinds.ts'
import { type RunReport } from './simulation/report.ts'

const seeds = 200
const processes = 2
const run = join(import.meta.dirname, 'simulation/run.ts')

/** What `run.ts` prints with `--json`, whether its seeds pass or not. */
function simulate(...args: string[]): Promise<RunReport> {
  return new Promise((resolve, reject) => {
    execFile(process.execPath, [run, '--json', ...args], { maxBuffer: 64 << 20 }, (error, stdout, stderr) => {
      if (stdout !== '') resolve(JSON.parse(stdout) as RunReport)
      else reject(new Error(`the simulator printed nothing: ${stderr}`, { cause: error }))
    })
  })
}

describe('the whole system on virtual time', () => {
  it(`keeps its promises under ${seeds} seeds of faults, and meets every kind of them`, async () => {
    const share = seeds / processes
    const reports = await Promise.all(
      Array.from({ length: processes }, (_, at) =>
        simulate('--seeds', String(share), '--first', String(1 + at * share)),
      ),
    )
    const failures = reports.flatMap((report) => report.failures)
    for (const { seed, message, trace } of failures) {
      console.log([...trace, `seed ${seed}: ${message}`, `replay: npm run test:sim -- --seed ${seed}`].join('\n'))
    }
    expect(failures.map(({ seed, message }) => `seed ${seed}: ${message}`)).toEqual([])
    const counts: Record<string, number> = {}
    for (const report of reports) {
      for (const [what, times] of Object.entries(report.counts)) counts[what] = (counts[what] ?? 0) + times
    }
    expect(missingKinds(counts)).toEqual([])
  }, 600_000)

  it('runs a seed the same way every time, whatever ran before it', async () => {
    const [alone, after] = await Promise.all([simulate('--seeds', '1', '--first', '3'), simulate('--seeds', '3')])
    expect(alone.failures).toEqual([])
    expect(after.digests.at(-1)).toBe(alone.digests[0])
    expect(new Set(after.digests).size).toBe(3)
  }, 120_000)

  it('says so when a kind of fault never happened', () => {
    expect(missingKinds({ put: 1 })).toContain('power lost')
  })
})
