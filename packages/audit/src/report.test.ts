import { CipherlogError } from '@cipherlog/core'
import { describe, expect, test } from 'vitest'
import { Remarks, remarksMax } from './report.ts'

describe('Remarks', () => {
  test('lists so many of each sort and counts the rest', () => {
    const remarks = new Remarks()
    for (let i = 0; i <= remarksMax + 1; i++) remarks.problem('ERR_AUDIT_LEAF', `leaf ${i}`, 'changed')
    for (let i = 0; i < remarksMax; i++) remarks.finding('unknown file', `file ${i}`, 'not looked at')
    expect(remarks.problemCount).toBe(remarksMax + 2)
    expect(remarks.problems).toHaveLength(remarksMax + 1)
    expect(remarks.problems.at(-1)).toEqual({
      code: 'more remarks',
      where: 'this report',
      message: '2 more were left out.',
    })
    expect(remarks.findings).toHaveLength(remarksMax)
  })

  test('says nothing twice', () => {
    const remarks = new Remarks()
    for (const where of ['leaf 1', 'leaf 1', 'leaf 2']) remarks.problem('ERR_AUDIT_LEAF', where, 'changed')
    expect(remarks.problems.map(({ where }) => where)).toEqual(['leaf 1', 'leaf 2'])
    expect(remarks.problemCount).toBe(2)
  })

  test('spells out what a terminal would obey and cuts what is long', () => {
    const remarks = new Remarks()
    remarks.finding('unknown file', 'a\u001b]0;x\u0007\u0085\u2028\u202e\u{e0041}b', 'ä'.repeat(2000))
    const { where, message } = remarks.findings[0]!
    expect(where).toBe('a\\u{1b}]0;x\\u{7}\\u{85}\\u{2028}\\u{202e}\\u{e0041}b')
    expect(message).toBe(`${'ä'.repeat(1000)}…`)
  })

  test('attempt() turns typed errors into problems and lets ours through', () => {
    const remarks = new Remarks()
    expect(remarks.attempt('checkpoint', () => 7)).toBe(7)
    const refused = remarks.attempt('checkpoint', () => {
      throw new CipherlogError('ERR_DECODE_NOTE', 'It is no note.')
    })
    expect(refused).toBeUndefined()
    expect(remarks.problems).toEqual([{ code: 'ERR_DECODE_NOTE', where: 'checkpoint', message: 'It is no note.' }])
    const ours = () => {
      throw new TypeError('ours')
    }
    expect(() => remarks.attempt('checkpoint', ours)).toThrow(TypeError)
  })
})
