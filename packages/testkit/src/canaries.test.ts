/** The search itself must be able to find what it looks for. */
import { expect, test } from 'vitest'
import { searchBytes, textCanary } from './canaries.ts'

const canary = textCanary('planted', 'acme-robotics owes 5453')
const around = (bytes: Uint8Array): Uint8Array => Buffer.concat([Buffer.from('xx'), bytes, Buffer.from('yyy')])

test.each([
  ['as it is', Buffer.from('acme-robotics owes 5453')],
  ['in hex', Buffer.from(Buffer.from('acme-robotics owes 5453').toString('hex'))],
  ['in UTF-16', Buffer.from('acme-robotics owes 5453', 'utf16le')],
  ['in base64', Buffer.from(Buffer.from('acme-robotics owes 5453').toString('base64'))],
  ['in base64, one byte later', Buffer.from(Buffer.from('?acme-robotics owes 5453').toString('base64'))],
  ['in base64, two bytes later', Buffer.from(Buffer.from('??acme-robotics owes 5453!').toString('base64'))],
])('searchBytes() finds a canary %s', (_how, bytes) => {
  expect(searchBytes(around(bytes), 'file', [canary])).not.toEqual([])
})

test('searchBytes() finds nothing in other bytes', () => {
  expect(searchBytes(Buffer.alloc(4096, 7), 'file', [canary])).toEqual([])
})

test('searchBytes() refuses a canary that chance would find', () => {
  expect(() => searchBytes(Buffer.alloc(1), 'file', [textCanary('short', '42')])).toThrow(RangeError)
})
