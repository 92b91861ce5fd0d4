import { globSync, readFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { replayScenario } from './replay.ts'

const folder = join(import.meta.dirname, 'scenarios')
const files = globSync('*.txt', { cwd: folder }).toSorted()

describe('replayScenario()', () => {
  test('has scenarios to replay', () => {
    expect(files.length).toBeGreaterThanOrEqual(24)
  })

  test.each(files)('%s says what it expects', (file) => {
    for (const { directive, actual } of replayScenario(readFileSync(join(folder, file), 'utf8'))) {
      expect(actual, `${basename(file)}:${directive.line} ${directive.name}`).toBe(directive.expected)
    }
  })

  test('stops at a broken promise instead of writing it down', () => {
    const twoLeaders = `add-nodes 3 voters=(1,2,3) index=2
campaign 1
stabilize
----
ok

_send
----
ok
`
    expect(replayScenario(twoLeaders).at(-1)!.actual).toBe('unknown command\n')
  })
})
