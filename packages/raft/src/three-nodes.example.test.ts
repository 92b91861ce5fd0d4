import { readFile } from 'node:fs/promises'
import { expect, it, vi } from 'vitest'

it('the example of the README runs, and is the one printed there', async () => {
  const log = vi.spyOn(console, 'log').mockImplementation(() => {})
  const { committed } = await import('./three-nodes.example.ts')
  expect([...committed.values()]).toEqual([2, 2, 2])
  expect(log).toHaveBeenCalledOnce()
  log.mockRestore()
  const source = await readFile(new URL('three-nodes.example.ts', import.meta.url), 'utf8')
  expect(await readFile(new URL('../README.md', import.meta.url), 'utf8')).toContain(source)
})
