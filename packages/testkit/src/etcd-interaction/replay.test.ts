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

  test('answers what it does not know as etcd does', () => {
    expect(replayScenario('fly-away\n----\n')).toMatchObject([{ actual: 'unknown command\n' }])
  })
})
