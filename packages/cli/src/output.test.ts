import { CipherlogError } from '@cipherlog/core'
import { describe, expect, test } from 'vitest'
import { createOutput, printError, toJson } from './output.ts'
import { testIo } from './streams.fixture.ts'

describe('createOutput()', () => {
  test('prints results for people on standard output and hints on standard error', () => {
    const io = testIo()
    const output = createOutput(false, io)
    output.result({ position: 'x#1.0' }, 'applied at x#1.0')
    output.note('Verify it.')
    expect([io.out(), io.err()]).toEqual(['applied at x#1.0\n', 'Verify it.\n'])
  })

  test('with --json prints one object per result and nothing else', () => {
    const io = testIo()
    const output = createOutput(true, io)
    output.note('Verify it.')
    output.progress('50 %')
    output.result({ leaf: 1 }, 'one')
    output.result({ leaf: 2 }, 'two')
    expect([io.out(), io.err()]).toEqual(['{"leaf":1}\n{"leaf":2}\n', ''])
  })

  test('shows progress on a terminal only, and clears it before anything else', () => {
    const io = testIo()
    createOutput(false, io).progress('50 %')
    expect(io.err()).toBe('')
    const output = createOutput(false, { stdout: io.stdout, stderr: Object.assign(io.stderr, { isTTY: true }) })
    output.progress('50 %')
    output.result({}, 'done')
    expect(io.err()).toBe('50 %\r\u001b[K')
    expect(io.out()).toBe('done\n')
  })
})

test('on a terminal, control characters of other people are spelled out; a pipe gets them as they are', () => {
  const text = 'a\u001b[2Jb\u202ec\td\ne'
  const [terminal, pipe] = [testIo(), testIo()]
  Object.assign(terminal.stdout, { isTTY: true })
  createOutput(false, terminal).result({}, text)
  createOutput(false, pipe).result({}, text)
  expect(terminal.out()).toBe('a\\u{1b}[2Jb\\u{202e}c\td\ne\n')
  expect(pipe.out()).toBe(`${text}\n`)
})

test('toJson() writes bytes as hex and bigints as decimal strings', () => {
  const value = { id: new Uint8Array([0, 255]), sum: 2n ** 64n, buffer: Buffer.from([1]), by: new Map([['a', 1n]]) }
  expect(toJson(value)).toBe('{"id":"00ff","sum":"18446744073709551616","buffer":"01","by":{"a":"1"}}')
})

describe('printError()', () => {
  const error = new CipherlogError('ERR_DIRECTORY', 'There is none; make one.', { details: { path: '/x' } })

  test('says code and sentence', () => {
    const io = testIo()
    printError(error, false, io.stderr)
    expect(io.err()).toBe('ERR_DIRECTORY: There is none; make one.\n')
  })

  test('with --json prints an object with the details', () => {
    const io = testIo()
    printError(error, true, io.stderr)
    const expected = { error: { code: 'ERR_DIRECTORY', message: 'There is none; make one.', details: { path: '/x' } } }
    expect(JSON.parse(io.err())).toEqual(expected)
  })

  test('shows the stack of what nobody expected', () => {
    const io = testIo()
    printError(new TypeError('x is undefined'), false, io.stderr)
    expect(io.err()).toMatch(/^ERR_INTERNAL: x is undefined\n(.|\n)*output\.test\.ts/)
  })
})
