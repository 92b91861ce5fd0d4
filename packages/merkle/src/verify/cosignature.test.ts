import { utf8 } from '@cipherlog/core'
import { describe, expect, test } from 'vitest'
import { buildLog, cosigners, logKey, timeSeconds } from '../log.fixture.ts'
import { cosignCheckpoint } from '../tree/sign-checkpoint.ts'
import { formatCheckpoint } from './checkpoint.ts'
import { cosignatureMessage, verifyCosignature } from './cosignature.ts'
import { parseSignatureLine } from './note.ts'

const text = formatCheckpoint(buildLog(3).checkpointAt(3))
const { key } = cosigners[0]!

describe('cosignature/v1', () => {
  test('signs the header line, the time line and the whole checkpoint text', () => {
    expect(cosignatureMessage('golden.example/log\n4\nroot\n', 1_700_000_000)).toEqual(
      utf8('cosignature/v1\ntime 1700000000\ngolden.example/log\n4\nroot\n'),
    )
  })

  test('is u64 time, big-endian, then 64 bytes', () => {
    const { signature } = parseSignatureLine(cosignCheckpoint(text, { ...cosigners[0]!, timeSeconds }))
    expect(signature).toHaveLength(72)
    expect([...signature.subarray(0, 8)]).toEqual([0, 0, 0, 0, 0x65, 0x53, 0xf1, 0])
    expect(verifyCosignature(text, key, signature)).toBe(timeSeconds)
  })

  test.each([0, 1, 2 ** 32, Number.MAX_SAFE_INTEGER])('carries time %i', (time) => {
    const { signature } = parseSignatureLine(cosignCheckpoint(text, { ...cosigners[0]!, timeSeconds: time }))
    expect(verifyCosignature(text, key, signature)).toBe(time)
  })

  test('takes no time that is not a safe non-negative integer', () => {
    for (const time of [-1, 0.5, NaN, 2 ** 53]) expect(() => cosignatureMessage(text, time)).toThrow(RangeError)
  })

  test('is refused under another key, over another text and at another time', () => {
    const { signature } = parseSignatureLine(cosignCheckpoint(text, { ...cosigners[0]!, timeSeconds }))
    const code = expect.objectContaining({ code: 'ERR_VERIFY_NOTE_SIGNATURE' })
    expect(() => verifyCosignature(text, cosigners[1]!.key, signature)).toThrow(code)
    expect(() => verifyCosignature(text + 'x\n', key, signature)).toThrow(code)
    const moved = signature.map((byte, i) => (i === 7 ? byte + 1 : byte))
    expect(() => verifyCosignature(text, key, moved)).toThrow(code)
    expect(() => verifyCosignature(text, key, signature.subarray(8))).toThrow(code)
    expect(() => verifyCosignature(text, logKey.key, signature)).toThrow(RangeError)
  })
})
