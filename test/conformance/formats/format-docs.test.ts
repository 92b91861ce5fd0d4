/** The pages of docs/formats say what the code does: run `node scripts/format-docs.ts` after a change. */
import { readdirSync, readFileSync } from 'node:fs'
import { expect, it } from 'vitest'
import { formatPages, handWrittenPages, pagesFolder } from '../../../scripts/format-docs.ts'

const pages = formatPages()

it.each([...pages.keys()])('docs/formats/%s is up to date', (name) => {
  expect(readFileSync(new URL(name, pagesFolder), 'utf8')).toBe(pages.get(name))
})

it('docs/formats holds no page that nobody writes', () => {
  const known = new Set([...pages.keys(), ...handWrittenPages.map((page) => `${page}.md`)])
  expect(readdirSync(pagesFolder).filter((name) => !known.has(name))).toEqual([])
})
