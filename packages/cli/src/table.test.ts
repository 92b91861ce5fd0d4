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

test('table() breaks sentences of the last column between words', () => {
  expect(
    table(
      ['code', 'sentence'],
      [
        ['E', 'one two three'],
        ['F', 'four'],
      ],
      8,
    ),
  ).toBe(['code  sentence', '────  ────────', 'E     one two', '      three', 'F     four'].join('\n'))
})
