import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { describe, expect, it } from 'vitest'
import { type SimulationReport } from './core.ts'
import { applyPatches, type Mutant, mutants } from './mutants.ts'

const core = mutants.filter(({ caughtBy }) => caughtBy === 'core')

/** Runs a simulator over seeds 1 to `seeds` in a process of its own, with `mutant` switched on if there is one. */
async function simulate(caughtBy: Mutant['caughtBy'], seeds: number, mutant?: Mutant): Promise<SimulationReport> {
  const script = join(import.meta.dirname, caughtBy === 'core' ? 'core.ts' : 'run.ts')
  const hook = mutant === undefined ? [] : ['--import', join(import.meta.dirname, 'mutate.ts')]
  const args = [...hook, script, '--seeds', String(seeds), '--seed', '1', '--json']
  const env = { ...process.env, CIPHERLOG_MUTANT: mutant?.name }
  const done = promisify(execFile)(process.execPath, args, { env, maxBuffer: 1 << 24 })
  // A failed seed is an exit code of 1, and a report all the same.
  const { stdout, stderr } = await done.catch((error: unknown) => error as { stdout: string; stderr: string })
  const report = stdout.trimEnd().split('\n').at(-1)
  if (report === undefined || !report.startsWith('{')) throw new Error(`the simulator made no report: ${stderr}`)
  return JSON.parse(report) as SimulationReport
}

describe('known bugs', { timeout: 400_000 }, () => {
  it('each is named once, and at least ten are the core’s', () => {
    expect(new Set(mutants.map(({ name }) => name)).size).toBe(mutants.length)
    expect(core.length).toBeGreaterThanOrEqual(10)
  })

  it('a patch that does not fit exactly once fails', () => {
    const patch = { file: 'a.ts', find: 'x', replace: 'y' }
    expect(applyPatches('a x b', [patch])).toBe('a y b')
    expect(() => applyPatches('a b', [patch])).toThrow('does not occur exactly once in a.ts')
    expect(() => applyPatches('x x', [patch])).toThrow('does not occur exactly once in a.ts')
  })

  it('without any of them, every seed used here passes', async () => {
    const report = await simulate('core', Math.max(...core.map(({ seeds }) => seeds)))
    expect(report.failure).toBeUndefined()
  })

  it.concurrent.each(core)('$name is noticed within $seeds seeds', async (mutant) => {
    const { failure } = await simulate('core', mutant.seeds, mutant)
    expect(failure?.says).toMatch(mutant.says)
  })
})
