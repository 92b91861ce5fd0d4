import { errorCode } from '@cipherlog/core'
import { describe, expect, test } from 'vitest'
import { buildLog, cosigners, keyPair, keys, logKey, outsider, signedNote, timeSeconds } from '../log.fixture.ts'
import { assembleNote, cosignCheckpoint, signCheckpoint } from '../tree/sign-checkpoint.ts'
import { formatCheckpoint } from './checkpoint.ts'
import { formatNote, parseSignatureLine } from './note.ts'
import { type CheckpointKeys, openCheckpoint } from './open-checkpoint.ts'
import { cosignatureKeyType, ed25519KeyType, parseVkey } from './verifier-key.ts'

const golden = `golden.example/log
4
mc4xUCfq5dV11oyKFdoBQFQAAZdXIIQ0anyhZ1zHCtk=

\u2014 golden.example/log HhM7jj7UEPAV+67DFfONC9aV7A7jyLjBh2hXtmLhmu5APyrWd8HqDHxDpqkl2aIoeAOf7y6JWr3LtRm7uFaPL6WguQM=
\u2014 witness.example/w1 YRIJpwAAAABlU/EAiEC1763XFZshPQWFat3VCO0d0kNC9n8JDUxyFO8lExlJQJBUEVFuH0S77VBLhx/J+llb2zMzb2Vuz3CB8hNkCA==
`
const goldenKey = parseVkey('golden.example/log+1e133b8e+ASxW4Ed7X1vywlEXj6BZEHazGoRnRQIgnoOUkpxEChvO')

const checkpoint = buildLog(7).checkpointAt(7)
const text = formatCheckpoint(checkpoint)

function codeOf(note: string, by: CheckpointKeys = keys): string | undefined {
  try {
    openCheckpoint(note, by)
    return 'opened'
  } catch (error) {
    return errorCode(error)
  }
}

describe('openCheckpoint()', () => {
  test('opens a checkpoint that other software signed, its cosignature unknown to us', () => {
    const opened = openCheckpoint(golden, { log: [goldenKey], cosigners: [] })
    expect(opened.checkpoint).toMatchObject({ origin: 'golden.example/log', size: 4 })
    expect(opened.logSignatures).toEqual([{ key: goldenKey }])
    expect(opened.unknownLines.map(({ name, keyId }) => [name, keyId])).toEqual([['witness.example/w1', '611209a7']])
    expect(codeOf(golden.replace('\n4\n', '\n5\n'), { log: [goldenKey], cosigners: [] })).toBe(
      'ERR_VERIFY_NOTE_SIGNATURE',
    )
  })

  test('names the log key and every cosigner with its time', () => {
    const opened = openCheckpoint(signedNote(checkpoint), keys)
    expect(opened.checkpoint).toEqual(checkpoint)
    expect(opened.text).toBe(text)
    expect(opened.logSignatures).toEqual([{ key: logKey.key }])
    expect(opened.cosignatures).toEqual(cosigners.map(({ key }) => ({ key, timeSeconds })))
    expect(opened.unknownLines).toEqual([])
  })

  test('counts both log keys of a transition', () => {
    const next = keyPair(logKey.name, ed25519KeyType, 11)
    const note = assembleNote(text, [signCheckpoint(text, logKey), signCheckpoint(text, next)])
    const opened = openCheckpoint(note, { log: [logKey.key, next.key], cosigners: [] })
    expect(opened.logSignatures.map(({ key }) => key)).toEqual([logKey.key, next.key])
  })

  test('rejects a note without a log signature, however many cosigners signed', () => {
    const lines = cosigners.map((key) => cosignCheckpoint(text, { ...key, timeSeconds }))
    expect(codeOf(assembleNote(text, lines))).toBe('ERR_POLICY_ORIGIN')
  })

  test('rejects a checkpoint of another origin under a known log key', () => {
    const foreign = formatCheckpoint({ ...checkpoint, origin: 'other.example/log' })
    const asForeign = signCheckpoint(foreign, { ...logKey, name: 'other.example/log' })
    // The same key signed, but under its old name and so with its old id: what a malicious log could publish.
    const renamed = parseSignatureLine(asForeign)
    const ours = parseSignatureLine(signCheckpoint(text, logKey))
    const note = formatNote(foreign, [{ ...ours, signature: renamed.signature }])
    expect(codeOf(note)).toBe('ERR_POLICY_ORIGIN')
  })

  test('rejects a signed note that is no checkpoint', () => {
    const key = keyPair('a', ed25519KeyType, 1)
    const peter = parseVkey('PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW')
    const note =
      'If you think cryptography is the answer to your problem,\n' +
      "then you don't know what your problem is.\n\n" +
      '\u2014 PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n'
    expect(codeOf(note, { log: [peter, key.key], cosigners: [] })).toBe('ERR_DECODE_CHECKPOINT')
  })

  test('refuses one cosigner key under two names: it could sign for both', () => {
    const alias = keyPair('cipherlog.example/replica/alias', cosignatureKeyType, 2)
    const note = assembleNote(text, [
      signCheckpoint(text, logKey),
      cosignCheckpoint(text, { ...cosigners[0]!, timeSeconds }),
      cosignCheckpoint(text, { ...alias, timeSeconds }),
    ])
    expect(codeOf(note)).toBe('opened')
    expect(codeOf(note, { ...keys, cosigners: [...keys.cosigners, alias.key] })).toBe('ERR_POLICY_VERIFIER_KEYS')
    expect(codeOf(note, { ...keys, cosigners: [...keys.cosigners, ...keys.cosigners] })).toBe('opened')
  })

  test('refuses keys in the wrong role', () => {
    expect(() => openCheckpoint(golden, { log: [outsider.key], cosigners: [] })).toThrow(RangeError)
    expect(() => openCheckpoint(golden, { log: [goldenKey], cosigners: [logKey.key] })).toThrow(RangeError)
  })
})
