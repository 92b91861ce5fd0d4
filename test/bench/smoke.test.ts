/** Every bench runs to its end, ends what it started, and says what it measured. No figure is looked at. */
import { execFile } from 'node:child_process'
import { mkdtemp, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { afterAll, beforeAll, expect, test } from 'vitest'

const runner = fileURLToPath(new URL('./run.ts', import.meta.url))

interface JsonReport {
  readonly bench: string
  readonly rounds: number
  readonly machine: { readonly processor: string; readonly cores: number; readonly node: string }
  readonly tables: readonly {
    readonly columns: readonly string[]
    readonly rows: readonly (
      string | null | { readonly median: number | null; readonly values: readonly unknown[] }
    )[][]
  }[]
}

let folder: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'cipherlog-bench-smoke-'))
})
afterAll(() => rm(folder, { recursive: true, force: true }))

function run(...args: string[]): Promise<{ stdout: string; stderr: string }> {
  return promisify(execFile)(process.execPath, [runner, ...args], { env: { ...process.env, TMPDIR: folder } })
}

test.each([
  ['codec', 1],
  ['costs', 8],
])(
  '%s prints its tables as JSON and as Markdown, and leaves nothing behind',
  async (name, tableCount) => {
    const { stdout, stderr } = await run(name, '--quick', '--json')
    const report = JSON.parse(stdout) as JsonReport
    expect(report).toMatchObject({ bench: name, rounds: 1, machine: { node: process.versions.node } })
    expect(report.tables).toHaveLength(tableCount)
    for (const { columns, rows } of report.tables) {
      expect(rows.length).toBeGreaterThan(0)
      for (const row of rows) expect(row).toHaveLength(columns.length)
      for (const cell of rows.flat()) if (typeof cell !== 'string') expect(cell?.values).toHaveLength(1)
    }
    expect(stderr.split('\n').filter((line) => line.startsWith('| ')).length).toBeGreaterThan(tableCount)
    expect(await readdir(folder)).toEqual([])
  },
  60_000,
)

test('an unknown bench gets the list of those there are', async () => {
  const failed = await run('no-such-bench').catch((error: unknown) => error)
  expect(failed).toMatchObject({ code: 2, stderr: expect.stringContaining('costs') as unknown })
})
