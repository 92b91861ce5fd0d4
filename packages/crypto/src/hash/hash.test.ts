import { createHmac } from 'node:crypto'
import { concatBytes, fromHex, toHex, utf8 } from '@cipherlog/core'
import { describe, expect, test } from 'vitest'
import * as index from './index.ts'
import * as nodeTwin from './sha256-node.ts'
import * as nobleTwin from './sha256-noble.ts'

const { blake2b256, bn254ScalarOrder, hmacSha256, labelledHash, labelledMac, labels, poseidon, sha256, sha256Of } =
  index

describe('SHA-256 and HMAC', () => {
  test('sha256() gives the FIPS 180-4 digest of "abc"', () => {
    expect(toHex(sha256(utf8('abc')))).toBe('ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad')
  })

  test('hmacSha256() gives RFC 4231 test case 2', () => {
    expect(toHex(hmacSha256(utf8('Jefe'), utf8('what do ya want for nothing?')))).toBe(
      '5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843',
    )
  })

  test('hmacSha256() is that of OpenSSL for every length of key and message around the block size', () => {
    for (let length = 0; length <= 130; length++) {
      const bytes = Uint8Array.from({ length }, (_, i) => (i * 11 + length) & 255)
      expect(hmacSha256(bytes, bytes)).toEqual(new Uint8Array(createHmac('sha256', bytes).update(bytes).digest()))
    }
  })

  test('the twins for Node and browsers agree on every length around the block size', () => {
    for (let length = 0; length <= 130; length++) {
      const bytes = Uint8Array.from({ length }, (_, i) => (i * 7 + length) & 255)
      expect(nodeTwin.sha256(bytes)).toEqual(nobleTwin.sha256(bytes))
    }
  })

  test('digests are plain Uint8Arrays with memory of their own', () => {
    for (const digest of [sha256(utf8('a')), hmacSha256(utf8('k'), utf8('a')), blake2b256(utf8('a'))]) {
      expect(digest.constructor).toBe(Uint8Array)
      expect(digest.buffer.byteLength).toBe(32)
    }
  })

  test('sha256Of() hashes the concatenation of its parts', () => {
    expect(sha256Of(utf8('a'), utf8(''), utf8('bc'))).toEqual(sha256(utf8('abc')))
    expect(sha256Of()).toEqual(sha256(new Uint8Array(0)))
  })
})

test('blake2b256() has 32 bytes of output as a parameter, not a cut BLAKE2b-512', () => {
  expect(toHex(blake2b256(utf8('abc')))).toBe('bddd813c634239723171ef3fee98579b94964e3bb1cb3e427262c8c068d52319')
})

describe('labels', () => {
  test('every label is distinct and ASCII without a zero byte', () => {
    const all = Object.values(labels)
    expect(new Set(all).size).toBe(all.length)
    expect(all).toHaveLength(23)
    for (const label of all) expect(label).toMatch(/^cipherlog\/v1\/[a-z-]+$/)
  })

  test('labelledHash() and labelledMac() put label and a zero byte in front', () => {
    const input = concatBytes(utf8('cipherlog/v1/cell'), fromHex('00'), utf8('xy'))
    expect(labelledHash(labels.cell, utf8('x'), utf8('y'))).toEqual(sha256(input))
    expect(labelledMac(utf8('k'), labels.cell, utf8('xy'))).toEqual(hmacSha256(utf8('k'), input))
  })

  test('a string that is no label is refused', () => {
    expect(() => labelledHash('cipherlog/v1/else' as never)).toThrow(TypeError)
  })
})

describe('poseidon', () => {
  test.each([
    [1, 18586133768512220936620570745912940619677854269274689475585506675881198879027n],
    [2, 7853200120776062878684798364095072458815029376092732009249414926327459813530n],
    [4, 18821383157269793795438455681495246036402687001665670618754263018637548127333n],
    [6, 20400040500897583745843009878988256314335038853985262692600694741116813247201n],
    [16, 9989051620750914585850546081941653841776809718687451684622678807385399211877n],
  ])("poseidon() of 1 to %i is circomlib's", (n, expected) => {
    expect(poseidon(Array.from({ length: n }, (_, i) => BigInt(i + 1)))).toBe(expected)
  })

  test('poseidon() takes the largest field element and refuses the next number, negative ones and 0 or 17 inputs', () => {
    expect(poseidon([bn254ScalarOrder - 1n])).not.toBe(poseidon([0n]))
    expect(() => poseidon([bn254ScalarOrder])).toThrow(RangeError)
    expect(() => poseidon([-1n])).toThrow(RangeError)
    expect(() => poseidon([])).toThrow(RangeError)
    expect(() => poseidon(new Array<bigint>(17).fill(0n))).toThrow(RangeError)
  })
})
