import { type Exploration } from '@cipherlog/testkit'
import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { describe, expect, it } from 'vitest'

interface Bounds {
  readonly terms: number
  readonly entries: number
  readonly crashes: number
  readonly disk: 'sync' | 'async'
}

async function explore(bounds: Bounds, mutant?: string): Promise<Exploration> {
  const hook = mutant === undefined ? [] : ['--import', join(import.meta.dirname, 'mutate.ts')]
  const options = Object.entries(bounds).flatMap(([name, value]) => [`--${name}`, String(value)])
  const args = [...hook, join(import.meta.dirname, 'explore.ts'), ...options, '--json']
  const env = { ...process.env, CIPHERLOG_MUTANT: mutant }
  const done = promisify(execFile)(process.execPath, args, { env, maxBuffer: 1 << 26 })
  // A violation is an exit code of 1, and a report all the same.
  const { stdout, stderr } = await done.catch((error: unknown) => error as { stdout: string; stderr: string })
  if (!stdout.startsWith('{')) throw new Error(`the exploration made no report: ${stderr}`)
  return JSON.parse(stdout) as Exploration
}

describe(
  'every state that three nodes can reach, whatever is lost, duplicated or overtaken,',
  { timeout: 400_000 },
  () => {
    it.concurrent.each<Bounds>([
      { terms: 2, entries: 2, crashes: 1, disk: 'sync' },
      { terms: 1, entries: 3, crashes: 0, disk: 'sync' },
      { terms: 1, entries: 2, crashes: 0, disk: 'async' },
      { terms: 2, entries: 1, crashes: 0, disk: 'async' },
    ])('keeps Raft’s properties: $terms terms, $entries entries, $crashes crashes, $disk disk', async (bounds) => {
      const { violation, ...found } = await explore(bounds)
      console.log(JSON.stringify(found))
      expect(violation).toBeUndefined()
      expect(found.complete).toBe(true)
      for (const what of ['states', 'transitions', 'led'] as const) expect(found[what], what).toBeGreaterThan(100)
      if (bounds.entries > 1) expect(found.committed).toBeGreaterThan(100)
      if (bounds.crashes > 0) expect(found.crashed).toBeGreaterThan(100)
    })
  },
)

describe('the exploration notices', { timeout: 400_000 }, () => {
  it.concurrent.each<[string, Bounds, RegExp]>([
    ['vote-for-shorter-log', { terms: 2, entries: 2, crashes: 1, disk: 'sync' }, /Leader Completeness/],
    ['truncate-by-early-append', { terms: 2, entries: 2, crashes: 1, disk: 'sync' }, /Durability/],
    ['ack-before-fsync', { terms: 1, entries: 1, crashes: 1, disk: 'async' }, /not on its disk/],
    // How this one was found: a leader of one term twice gives out its indexes twice.
    [
      'lead-before-own-vote-is-durable',
      { terms: 1, entries: 2, crashes: 1, disk: 'async' },
      /its leader does not have/,
    ],
  ])('%s', async (mutant, bounds, says) => {
    const { violation } = await explore(bounds, mutant)
    expect(violation?.says).toMatch(says)
    expect(violation?.trace.length).toBeGreaterThan(3)
  })
})
