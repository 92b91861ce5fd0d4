import { formatVkey } from '@cipherlog/merkle/verify'
import { describe, expect, test } from 'vitest'
import { codeOf, keyOf, trustPolicyOf, witnessVkey } from './example-cluster.fixture.ts'
import { decodeTrustPolicy, encodeTrustPolicy } from './trust-policy.ts'

describe('trust policies', () => {
  test('decode as they were encoded', () => {
    const policy = trustPolicyOf({
      witnesses: [witnessVkey('wendy')],
      witnessesRequired: 1,
      start: { treeSize: 2, rootHash: new Uint8Array(32) },
    })
    expect(decodeTrustPolicy(encodeTrustPolicy(policy))).toEqual(policy)
  })

  const sameKey = (name: string) => formatVkey({ name, type: 4, publicKey: keyOf('wendy') })
  test.each([
    ['more witnesses required than named', [], 1],
    ['something that is no vkey', ['wendy'], 1],
    ['a log key as witness', [formatVkey({ name: 'wendy', type: 1, publicKey: keyOf('wendy') })], 1],
    ['one witness twice', [sameKey('a'), sameKey('a')], 1],
    ['one key under two names', [sameKey('a'), sameKey('b')], 1],
  ])('are refused with %s', (_, witnesses, witnessesRequired) => {
    expect(codeOf(() => encodeTrustPolicy(trustPolicyOf({ witnesses, witnessesRequired })))).toBe(
      'ERR_POLICY_WITNESSES',
    )
  })

  test('are refused as a DecodeError if they are none', () => {
    const bytes = encodeTrustPolicy(trustPolicyOf())
    expect(codeOf(() => decodeTrustPolicy(bytes.slice(1)))).toMatch(/^ERR_DECODE_/)
    expect(codeOf(() => decodeTrustPolicy(new Uint8Array(100_000)))).toBe('ERR_DECODE_LIMIT')
  })
})
