import { CipherlogError, InvariantViolation } from '@cipherlog/core'
import { describe, expect, test } from 'vitest'
import { exitCodeOf, UsageError } from './exit-codes.ts'

describe('exitCodeOf()', () => {
  test.each([
    ['ERR_VERIFY_INCLUSION', 1],
    ['ERR_REFUSED_SIGNATURE', 1],
    ['ERR_AUDIT_INVALID', 1],
    ['ERR_REJECTED_GRANT', 3],
    ['ERR_UNAVAILABLE', 69],
    ['ERR_OUTCOME_UNKNOWN', 69],
    ['ERR_BUSY', 69],
    ['ERR_INTERNAL', 70],
    ['ERR_DIRECTORY', 78],
    ['ERR_PASSPHRASE', 78],
    ['ERR_KEYRING_FILE', 78],
  ])('%s ends with %i', (code, exitCode) => {
    expect(exitCodeOf(new CipherlogError(code, 'It failed.'))).toBe(exitCode)
  })

  test('what nobody expected is a fault of ours', () => {
    expect(exitCodeOf(new TypeError('x is undefined'))).toBe(70)
    expect(exitCodeOf('thrown text')).toBe(70)
    expect(exitCodeOf(new InvariantViolation('It cannot be'))).toBe(70)
  })

  test('a wrong command line ends with 2', () => {
    expect(exitCodeOf(new UsageError('What?'))).toBe(2)
  })
})
