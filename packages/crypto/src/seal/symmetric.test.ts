import { errorCode } from '@cipherlog/core'
import { describe, expect, test } from 'vitest'
import * as nodeTwin from './symmetric-node.ts'
import * as unsupported from './symmetric-unsupported.ts'

const none = new Uint8Array(0)
const zeros = (length: number) => new Uint8Array(length)

describe('AES-256-GCM and scrypt', () => {
  test('GCM specification, test cases 13 and 14: zero key and nonce', () => {
    const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex')
    expect(hex(nodeTwin.aesGcmSeal(zeros(32), zeros(12), none, none))).toBe('530f8afbc74536b9a963b4f1c4cb738b')
    expect(hex(nodeTwin.aesGcmSeal(zeros(32), zeros(12), none, zeros(16)))).toBe(
      'cea7403d4d606b6e074ec5d3baf39d18d0d1c8a799996bf0265b98b5d48ab919',
    )
  })

  test('aesGcmOpen() is undefined for a tag that does not fit or is missing', () => {
    const sealed = nodeTwin.aesGcmSeal(zeros(32), zeros(12), none, zeros(5))
    expect(nodeTwin.aesGcmOpen(zeros(32), zeros(12), none, sealed)).toEqual(zeros(5))
    expect(nodeTwin.aesGcmOpen(zeros(32), zeros(12), zeros(1), sealed)).toBeUndefined()
    expect(nodeTwin.aesGcmOpen(zeros(32), zeros(12), none, zeros(15))).toBeUndefined()
  })

  test('a runtime without node:crypto gets a clear error', () => {
    for (const call of [
      () => unsupported.aesGcmSeal(zeros(32), zeros(12), none, none),
      () => unsupported.aesGcmOpen(zeros(32), zeros(12), none, zeros(16)),
      () => unsupported.scrypt(none, zeros(16), 14, 8, 1),
    ]) {
      let caught: unknown
      try {
        call()
      } catch (error) {
        caught = error
      }
      expect(errorCode(caught)).toBe('ERR_UNSUPPORTED_RUNTIME')
    }
  })
})
