import { concatBytes, DecodeError, errorCode, systemRandom, utf8 } from '@cipherlog/core'
import { describe, expect, test } from 'vitest'
import { openWithPassphrase, sealWithPassphrase } from './index.ts'

const plaintext = utf8('a keyring')
// The lowest cost that is accepted, to keep the tests fast.
const seal = (passphrase: string) => sealWithPassphrase({ passphrase, plaintext, random: systemRandom, logN: 14 })
const code = (action: () => unknown) => {
  try {
    action()
  } catch (error) {
    return errorCode(error)
  }
  return undefined
}

describe('sealWithPassphrase()', () => {
  const sealed = seal('correct horse')

  test('round trip, also with another Unicode spelling of the same passphrase', () => {
    expect(openWithPassphrase({ passphrase: 'correct horse', sealed })).toEqual(plaintext)
    expect(openWithPassphrase({ passphrase: 'cafe\u0301', sealed: seal('caf\u00e9') })).toEqual(plaintext)
  })

  test('a wrong passphrase and an altered salt or ciphertext are ERR_PASSPHRASE', () => {
    expect(code(() => openWithPassphrase({ passphrase: 'correct hors', sealed }))).toBe('ERR_PASSPHRASE')
    for (const at of [8, sealed.length - 1, sealed.length - 20]) {
      const bad = sealed.slice()
      bad[at]! ^= 1
      expect(code(() => openWithPassphrase({ passphrase: 'correct horse', sealed: bad }))).toBe('ERR_PASSPHRASE')
    }
  })

  test('the cost stands in the bytes and is bounded before anything is derived', () => {
    // map(4), key 0: version 1, key 1: logN
    expect([...sealed.subarray(0, 5)]).toEqual([0xa4, 0, 1, 1, 14])
    // 2^23 would need 8 GiB: that it is refused at once shows that nothing was derived.
    for (const logN of [13, 21, 23]) {
      const bad = sealed.slice()
      bad[4] = logN
      expect(code(() => openWithPassphrase({ passphrase: 'correct horse', sealed: bad }))).toBe('ERR_DECODE_LIMIT')
      expect(() => sealWithPassphrase({ passphrase: 'x', plaintext, random: systemRandom, logN })).toThrow(RangeError)
    }
  })

  test('bytes that are no such record are a DecodeError', () => {
    for (const bad of [utf8('{}'), sealed.subarray(1), concatBytes(sealed, Uint8Array.of(0)), new Uint8Array(0)])
      expect(() => openWithPassphrase({ passphrase: 'correct horse', sealed: bad })).toThrow(DecodeError)
  })

  test('two seals of one plaintext differ in salt and ciphertext', () => {
    const again = seal('correct horse')
    expect(again.subarray(6, 22)).not.toEqual(sealed.subarray(6, 22))
    expect(again.subarray(-25)).not.toEqual(sealed.subarray(-25))
  })

  test('the default cost is 2^17', () => {
    expect(sealWithPassphrase({ passphrase: 'x', plaintext, random: systemRandom })[4]).toBe(17)
  })
})
