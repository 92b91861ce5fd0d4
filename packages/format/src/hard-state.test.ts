import { describe, expect, it } from 'vitest'
import { errorCode, toHex } from '@cipherlog/core'
import { decodeHardState, encodeHardState, hardStateBytesMax } from './hard-state.ts'

const peer = '0123456789abcdef0123456700000001'

describe('HardState', () => {
  it('round-trips with and without a vote', () => {
    for (const value of [
      { term: 0, votedFor: undefined, commit: 0 },
      { term: 7, votedFor: peer, commit: 4000 },
      { term: Number.MAX_SAFE_INTEGER, votedFor: peer, commit: Number.MAX_SAFE_INTEGER },
    ]) {
      const bytes = encodeHardState(value)
      expect(bytes.length).toBeLessThanOrEqual(hardStateBytesMax)
      expect(decodeHardState(bytes)).toEqual(value)
    }
  })

  it('has the bytes of the worked example', () => {
    expect(toHex(encodeHardState({ term: 7, votedFor: peer, commit: 4 }))).toBe(`a301070250${peer}0304`)
  })

  it('refuses a peer id that is not 32 lowercase hex digits', () => {
    for (const votedFor of ['', peer.toUpperCase(), peer.slice(2), `${peer}00`]) {
      expect(() => encodeHardState({ term: 1, votedFor, commit: 0 })).toThrow()
    }
  })

  it('refuses trailing bytes and every truncation', () => {
    const bytes = encodeHardState({ term: 7, votedFor: peer, commit: 4 })
    for (let length = 0; length < bytes.length; length++) {
      let code: string | undefined
      try {
        decodeHardState(bytes.subarray(0, length))
      } catch (error) {
        code = errorCode(error)
      }
      expect(code).toMatch(/^ERR_DECODE_/)
    }
    expect(() => decodeHardState(Uint8Array.of(...bytes, 0))).toThrow(/follow the value/)
  })
})
