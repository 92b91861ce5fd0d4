import { expect, test } from 'vitest'
import { table } from './table.ts'

test('table() aligns columns and leaves no space at the end', () => {
  const rows = [
    ['1', 'https://127.0.0.1:7101'],
    ['12', ''],
  ]
  expect(table(['node', 'api'], rows)).toBe(
    ['node  api', '────  ──────────────────────', '1     https://127.0.0.1:7101', '12'].join('\n'),
  )
})
