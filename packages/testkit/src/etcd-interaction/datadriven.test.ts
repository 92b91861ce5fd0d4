import { describe, expect, test } from 'vitest'
import { parseCommand, parseScenario } from './datadriven.ts'

describe('parseScenario()', () => {
  test('reads commands, input and expected output', () => {
    const scenario = '# a comment\n\npropose-conf-change 1 v1=true\nv2\n----\nok\n\nstabilize\n----\na\nb\n'
    expect(parseScenario(scenario)).toMatchObject([
      { line: 3, name: 'propose-conf-change', input: 'v2', expected: 'ok\n' },
      { line: 8, name: 'stabilize', input: '', expected: 'a\nb\n' },
    ])
  })

  test('reads output with empty lines between doubled separators', () => {
    const [first, second] = parseScenario('a\n----\n----\nx\n\ny\n----\n----\n\nb\n----\nok\n')
    expect(first!.expected).toBe('x\n\ny\n')
    expect(second!.name).toBe('b')
  })

  test('refuses a command without a separator, naming its line', () => {
    expect(() => parseScenario('\nstabilize\nok\n')).toThrow('Line 2')
  })
})

describe('parseCommand()', () => {
  test('reads keys, values and lists', () => {
    expect(parseCommand('add-nodes 3 voters=(1,2, 3) learners=(4 5) index=10')).toEqual({
      name: 'add-nodes',
      args: [
        { key: '3', values: [] },
        { key: 'voters', values: ['1', '2', '3'] },
        { key: 'learners', values: ['4', '5'] },
        { key: 'index', values: ['10'] },
      ],
    })
  })
})
