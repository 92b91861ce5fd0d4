import { errorCode } from '@cipherlog/core'
import { describe, expect, test } from 'vitest'
import { buildLog, cosigners, keyPair, keys, logKey, outsider, signedNote, timeSeconds } from '../log.fixture.ts'
import { cosignCheckpoint, signCheckpoint } from '../tree/sign-checkpoint.ts'
import { formatCheckpoint } from './checkpoint.ts'
import { formatNote, formatSignatureLine, type NoteSignature, parseNote, parseSignatureLine } from './note.ts'
import { openNote, verifyNoteSignature } from './open-note.ts'
import { cosignatureKeyType, ed25519KeyType, keyId, parseVkey } from './verifier-key.ts'

const log = buildLog(7)
const text = formatCheckpoint(log.checkpointAt(7))
const known = [...keys.log, ...keys.cosigners]
const logLine = parseSignatureLine(signCheckpoint(text, logKey))
const cosignatureLine = parseSignatureLine(cosignCheckpoint(text, { ...cosigners[0]!, timeSeconds }))
const foreignLine = parseSignatureLine(cosignCheckpoint(text, { ...outsider, timeSeconds }))

function damaged(line: NoteSignature): NoteSignature {
  return { ...line, signature: line.signature.map((byte, i) => (i === line.signature.length - 1 ? byte ^ 1 : byte)) }
}

function outcomeOf(lines: NoteSignature[], noteText = text): string | undefined {
  try {
    return openNote(formatNote(noteText, lines), known)
      .signatures.map(({ key }) => key.name)
      .join()
  } catch (error) {
    return errorCode(error)
  }
}

describe('openNote()', () => {
  test('opens the note of the Go documentation of x/mod/sumdb/note, signed by one and by two', () => {
    const note =
      'If you think cryptography is the answer to your problem,\n' +
      "then you don't know what your problem is.\n\n" +
      '\u2014 PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n'
    const second =
      '\u2014 EnochRoot rwz+eBzmZa0SO3NbfRGzPCpDckykFXSdeX+MNtCOXm2/5n2tiOHp+vAF1aGrQ5ovTG01oOTGwnWLox33WWd1RvMc+QQ=\n'
    const peter = parseVkey('PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW')
    const enoch = parseVkey('EnochRoot+af0cfe78+ATtqJ7zOtqQtYqOo0CpvDXNlMhV3HeJDpjrASKGLWdop')
    expect(openNote(note, [peter]).signatures).toEqual([{ key: peter }])
    expect(openNote(note + second, [peter]).unknown.map(({ name }) => name)).toEqual(['EnochRoot'])
    expect(openNote(note + second, [enoch, peter]).signatures).toEqual([{ key: peter }, { key: enoch }])
    expect(() => openNote(note.replace('answer', 'Answer'), [peter])).toThrow('does not verify')
  })

  test('tells verified lines, with their times, from unknown ones', () => {
    const opened = openNote(formatNote(text, [foreignLine, cosignatureLine, logLine]), known)
    expect(opened.text).toBe(text)
    expect(opened.signatures).toEqual([{ key: cosigners[0]!.key, timeSeconds }, { key: logKey.key }])
    expect(opened.unknown).toEqual([foreignLine])
  })

  test('ignores lines that share only the name or only the id with a known key', () => {
    const nameOnly = { ...damaged(logLine), keyId: '00000000' }
    const idOnly = { ...damaged(logLine), name: 'other.example' }
    expect(outcomeOf([logLine, nameOnly, idOnly])).toBe(logKey.name)
  })

  test('rejects the whole note for one bad line of a known key, wherever it stands', () => {
    expect(outcomeOf([logLine, damaged(cosignatureLine)])).toBe('ERR_VERIFY_NOTE_SIGNATURE')
    expect(outcomeOf([damaged(logLine), cosignatureLine])).toBe('ERR_VERIFY_NOTE_SIGNATURE')
    expect(outcomeOf([damaged(logLine), logLine])).toBe('ERR_VERIFY_NOTE_SIGNATURE')
  })

  test('counts only the first of several lines by one key, so one cosigner is never two', () => {
    const later = parseSignatureLine(cosignCheckpoint(text, { ...cosigners[0]!, timeSeconds: timeSeconds + 5 }))
    const opened = openNote(formatNote(text, [cosignatureLine, later, cosignatureLine]), known)
    expect(opened.signatures).toEqual([{ key: cosigners[0]!.key, timeSeconds }])
    expect(opened.unknown).toEqual([])
    // As in Go's x/mod a later line of the same key is not even verified.
    expect(outcomeOf([logLine, damaged(logLine)])).toBe(logKey.name)
  })

  test('rejects a note that no known key has signed', () => {
    expect(outcomeOf([foreignLine])).toBe('ERR_VERIFY_NOTE_UNSIGNED')
    expect(() => openNote(formatNote(text, [logLine]), [])).toThrow('No known key')
  })

  test('rejects signatures moved to another text', () => {
    expect(outcomeOf([logLine], formatCheckpoint(log.checkpointAt(6)))).toBe('ERR_VERIFY_NOTE_SIGNATURE')
    expect(outcomeOf([cosignatureLine], text + 'extension\n')).toBe('ERR_VERIFY_NOTE_SIGNATURE')
  })

  test('rejects a cosignature whose time was changed', () => {
    const moved = { ...cosignatureLine, signature: cosignatureLine.signature.map((b, i) => (i === 7 ? b ^ 1 : b)) }
    expect(outcomeOf([logLine, moved])).toBe('ERR_VERIFY_NOTE_SIGNATURE')
  })

  test('rejects a cosignature time above 2^53-1 and a signature of the wrong length', () => {
    for (const [at, value] of [
      [0, 0x80],
      [0, 1],
      [1, 0x20],
    ] as const) {
      const far = { ...cosignatureLine, signature: cosignatureLine.signature.map((b, i) => (i === at ? value : b)) }
      expect(outcomeOf([logLine, far])).toBe('ERR_VERIFY_NOTE_SIGNATURE')
    }
    for (const line of [logLine, cosignatureLine]) {
      const short = { ...line, signature: line.signature.slice(0, -1) }
      const long = { ...line, signature: new Uint8Array([...line.signature, 0]) }
      expect(outcomeOf([short])).toBe('ERR_VERIFY_NOTE_SIGNATURE')
      expect(outcomeOf([long])).toBe('ERR_VERIFY_NOTE_SIGNATURE')
    }
  })

  test('does not take a log signature for a cosignature, or the other way round', () => {
    const asLog = keyPair(logKey.name, ed25519KeyType, 5)
    const asCosigner = keyPair(logKey.name, cosignatureKeyType, 5)
    expect(keyId(asLog.key)).not.toBe(keyId(asCosigner.key))
    const relabelled = { ...parseSignatureLine(signCheckpoint(text, asLog)), keyId: keyId(asCosigner.key) }
    expect(() => openNote(formatNote(text, [relabelled]), [asCosigner.key])).toThrow('not 72')
  })

  test('takes a key listed twice for one, and refuses two keys that share name and id', () => {
    const note = signedNote(log.checkpointAt(7))
    expect(openNote(note, [...known, ...known]).signatures).toHaveLength(4)
    const { first, second } = collidingKeys()
    expect(() => openNote(note, [...known, first, second])).toThrow(
      expect.objectContaining({ code: 'ERR_POLICY_VERIFIER_KEYS' }),
    )
  })

  test('says the same of a single line, as a replica asks before it adds a peer’s', () => {
    expect(verifyNoteSignature(text, cosignatureLine, cosigners[0]!.key).timeSeconds).toBe(timeSeconds)
    expect(() => verifyNoteSignature(text, cosignatureLine, cosigners[1]!.key)).toThrow('is by')
    expect(() => verifyNoteSignature(text, { ...logLine, keyId: '00000000' }, logKey.key)).toThrow('is by')
    expect(() => verifyNoteSignature(text, damaged(logLine), logKey.key)).toThrow('does not verify')
  })

  test('parses what it opened no further than the note: text and lines are verbatim', () => {
    const note = signedNote(log.checkpointAt(7))
    const parsed = parseNote(note)
    expect(text + '\n' + parsed.signatures.map(formatSignatureLine).join('')).toBe(note)
  })
})

/** Two keys under one name whose four-byte ids are equal: about 2^16 tries, as an attacker would make them. */
function collidingKeys() {
  const seen = new Map<string, Uint8Array>()
  for (let i = 0; ; i++) {
    const publicKey = new Uint8Array(32)
    new DataView(publicKey.buffer).setUint32(0, i)
    const key = { name: 'x', type: ed25519KeyType, publicKey } as const
    const id = keyId(key)
    const other = seen.get(id)
    if (other !== undefined) return { first: { ...key, publicKey: other }, second: key }
    seen.set(id, publicKey)
  }
}
