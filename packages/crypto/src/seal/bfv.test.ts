import { errorCode } from '@cipherlog/core'
import { describe, expect, test } from 'vitest'
import { bfvSuites } from '../evaluate/bfv/index.ts'
import { loadBfvClient } from './index.ts'

const client = await loadBfvClient(4)
const key = client.generateKey()
const { n, t } = bfvSuites[4]
const codeOf = (action: () => unknown) => {
  try {
    action()
  } catch (error) {
    return errorCode(error)
  }
  return undefined
}

describe('BfvClient', () => {
  test('opens what it encrypted, all n slots, the unused ones 0', () => {
    const slotMax = (t - 1) / 2
    const values = [0, 1, -1, slotMax, -slotMax]
    const ciphertext = client.encrypt({ publicKey: key.publicKey, values })
    const opened = client.decrypt({ secretKey: key.secretKey, ciphertext })
    expect(opened).toHaveLength(n)
    expect([...opened.subarray(0, 6)]).toEqual([0n, 1n, -1n, BigInt(slotMax), BigInt(-slotMax), 0n])
    expect(opened.subarray(5).every((slot) => slot === 0n)).toBe(true)
  })

  test('takes a full BigInt64Array', () => {
    const values = BigInt64Array.from({ length: n }, (_, i) => BigInt(i - 2000))
    const ciphertext = client.encrypt({ publicKey: key.publicKey, values })
    expect(client.decrypt({ secretKey: key.secretKey, ciphertext })).toEqual(values)
  })

  test('refuses values that SEAL would silently wrap, fractions, and more than n of them', () => {
    const encrypt = (values: number[] | BigInt64Array) => client.encrypt({ publicKey: key.publicKey, values })
    for (const value of [(t + 1) / 2, -(t + 1) / 2, 0.5, NaN, Infinity, 2 ** 60])
      expect(() => encrypt([value])).toThrow(RangeError)
    expect(() => encrypt(BigInt64Array.of(-(2n ** 63n)))).toThrow(RangeError)
    expect(() => encrypt(new Array<number>(n + 1).fill(0))).toThrow(RangeError)
  })

  test('two encryptions of one vector differ', () => {
    const encrypt = () => client.encrypt({ publicKey: key.publicKey, values: [1, 2, 3] })
    expect(encrypt()).not.toEqual(encrypt())
  })

  test('decrypt() goes through the gate first, and a malformed key is a typed error', () => {
    const ciphertext = client.encrypt({ publicKey: key.publicKey, values: [1] })
    const { secretKey } = key
    expect(codeOf(() => client.decrypt({ secretKey, ciphertext: ciphertext.subarray(1) }))).toBe('ERR_GATE_LENGTH')
    const transparent = ciphertext.slice()
    transparent.fill(0, 113 + (ciphertext.length - 113) / 2)
    expect(codeOf(() => client.decrypt({ secretKey, ciphertext: transparent }))).toBe('ERR_GATE_TRANSPARENT')
    expect(codeOf(() => client.decrypt({ secretKey: secretKey.slice(0, 1000), ciphertext }))).toBe('ERR_BFV_FAILED')
    expect(codeOf(() => client.encrypt({ publicKey: ciphertext, values: [1] }))).toBe('ERR_GATE_LENGTH')
  })

  test('another key opens to noise', () => {
    const ciphertext = client.encrypt({ publicKey: key.publicKey, values: [1, 2, 3] })
    const opened = client.decrypt({ secretKey: client.generateKey().secretKey, ciphertext })
    expect([...opened.subarray(0, 3)]).not.toEqual([1n, 2n, 3n])
  })
})
