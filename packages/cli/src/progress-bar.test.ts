import { expect, test } from 'vitest'
import { progressBar } from './progress-bar.ts'

test('progressBar() is empty, half, full', () => {
  expect(progressBar(0, 8, 0, 4)).toBe('░░░░ 0/8')
  expect(progressBar(4, 8, 0, 4)).toBe('██░░ 4/8')
  expect(progressBar(8, 8, 9000, 4)).toBe('████ 8/8')
  expect(progressBar(0, 0, 0, 4)).toBe('████ 0/0')
})

test('progressBar() reckons what is left from the pace so far', () => {
  expect(progressBar(1, 4, 2000, 4)).toBe('█░░░ 1/4, about 6 s left')
  expect(progressBar(1, 100, 10_000, 4)).toBe('░░░░ 1/100, about 17 min left')
})
