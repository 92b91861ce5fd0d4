import { fromHex } from '@cipherlog/core'
import { describe, expect, test } from 'vitest'
import { isKeyName } from './note.ts'
import { cosignerName, isClusterName, origin } from './names.ts'

const log = {
  name: 'orders.example/eu',
  cluster: fromHex('00112233445566778899aabbccddeeff'.repeat(2)),
  group: new Uint8Array(16),
  generation: 0,
}

describe('names', () => {
  test('an origin is name, 16 hex of the cluster, 32 hex of the group, generation', () => {
    expect(origin(log)).toBe('orders.example/eu/0011223344556677/00000000000000000000000000000000/0')
    expect(origin({ ...log, generation: 12 }).endsWith('/12')).toBe(true)
    expect(isKeyName(origin(log))).toBe(true)
  })

  test('a cosigner is the cluster’s name, replica, peer id', () => {
    const peer = '000102030405060708090a0b00000001'
    expect(cosignerName('orders', peer)).toBe(`orders/replica/${peer}`)
    for (const bad of ['', peer.toUpperCase(), peer.slice(1), peer + '0']) {
      expect(() => cosignerName('orders', bad)).toThrow(RangeError)
    }
  })

  test('a cluster’s name is lower case segments, at most 128 bytes', () => {
    for (const name of ['a', 'a-b.c/d', 'a'.repeat(128)]) expect(isClusterName(name)).toBe(true)
    for (const name of ['', '/', 'a/', '/a', 'a//b', 'A', 'a b', 'a+b', 'a\n', 'é', 'a'.repeat(129)]) {
      expect(isClusterName(name)).toBe(false)
      expect(() => cosignerName(name, '0'.repeat(32))).toThrow(RangeError)
    }
  })

  test('ids of the wrong length and generations below 0 make no origin', () => {
    expect(() => origin({ ...log, cluster: log.cluster.subarray(1) })).toThrow(RangeError)
    expect(() => origin({ ...log, group: new Uint8Array(15) })).toThrow(RangeError)
    expect(() => origin({ ...log, generation: -1 })).toThrow(RangeError)
    expect(() => origin({ ...log, name: 'Orders' })).toThrow(RangeError)
  })
})
