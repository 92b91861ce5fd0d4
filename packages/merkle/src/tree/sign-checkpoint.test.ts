import { describe, expect, test } from 'vitest'
import { buildLog, cosigners, keys, logKey, timeSeconds } from '../log.fixture.ts'
import { formatCheckpoint } from '../verify/checkpoint.ts'
import { openCheckpoint } from '../verify/open-checkpoint.ts'
import { assembleNote, cosignCheckpoint, signCheckpoint } from './sign-checkpoint.ts'

const text = formatCheckpoint(buildLog(9).checkpointAt(9))
const notCheckpoint = expect.objectContaining({ code: 'ERR_DECODE_CHECKPOINT' })

describe('signing checkpoints', () => {
  test('makes lines that stand in any order', () => {
    const log = signCheckpoint(text, logKey)
    const cosignature = cosignCheckpoint(text, { ...cosigners[1]!, timeSeconds })
    for (const lines of [
      [log, cosignature],
      [cosignature, log],
    ]) {
      const opened = openCheckpoint(assembleNote(text, lines), keys)
      expect(opened.cosignatures).toEqual([{ key: cosigners[1]!.key, timeSeconds }])
    }
  })

  test('is deterministic: signing again gives the same line', () => {
    expect(signCheckpoint(text, logKey)).toBe(signCheckpoint(text, logKey))
  })

  test('refuses a text that is no checkpoint', () => {
    expect(() => signCheckpoint('anything\n', logKey)).toThrow(notCheckpoint)
    expect(() => cosignCheckpoint('anything\n', { ...cosigners[0]!, timeSeconds })).toThrow(notCheckpoint)
    expect(() => cosignCheckpoint(text.slice(0, -1), { ...cosigners[0]!, timeSeconds })).toThrow(notCheckpoint)
  })

  test('refuses to sign another origin than the key is named after', () => {
    expect(() => signCheckpoint(text, { ...logKey, name: 'other.example/log' })).toThrow(RangeError)
  })

  test('refuses bad times, bad names and seeds that are not 32 bytes', () => {
    expect(() => cosignCheckpoint(text, { ...cosigners[0]!, timeSeconds: 1.5 })).toThrow(RangeError)
    expect(() => cosignCheckpoint(text, { ...cosigners[0]!, name: 'a b', timeSeconds })).toThrow(RangeError)
    expect(() => signCheckpoint(text, { ...logKey, secretKey: new Uint8Array(31) })).toThrow(RangeError)
  })

  test('assembles no note from a line that is not one', () => {
    const line = signCheckpoint(text, logKey)
    for (const bad of ['', 'x\n', line.slice(0, -1), line + line, `\n${line}`]) {
      expect(() => assembleNote(text, [line, bad])).toThrow(expect.objectContaining({ code: 'ERR_DECODE_NOTE' }))
    }
    expect(() => assembleNote(text, [])).toThrow(RangeError)
  })
})
