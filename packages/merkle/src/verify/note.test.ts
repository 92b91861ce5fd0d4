import { errorCode, toBase64, utf8 } from '@cipherlog/core'
import { describe, expect, test } from 'vitest'
import { formatNote, formatSignatureLine, type NoteSignature, noteSignaturesMax, parseNote } from './note.ts'

const text = 'Ognuno sta solo sul cuor della terra\n\ned è subito sera.\n'
const signature: NoteSignature = {
  name: 'quasimodo.example/salvatore',
  keyId: '36782a50',
  signature: utf8('signature'),
}
const line = formatSignatureLine(signature)
const base64 = line.trimEnd().split(' ')[2]!

function codeOf(note: string | Uint8Array): string | undefined {
  try {
    parseNote(note)
    return 'parsed'
  } catch (error) {
    return errorCode(error)
  }
}

describe('parseNote()', () => {
  test('splits at the last blank line, so a text may have its own', () => {
    expect(parseNote(text + '\n' + line)).toEqual({ text, signatures: [signature] })
    expect(parseNote(utf8(text + '\n' + line))).toEqual({ text, signatures: [signature] })
    expect(parseNote('\n\n' + line).text).toBe('\n')
    expect(parseNote('a\n\n\n' + line).text).toBe('a\n\n')
  })

  test('keeps all lines in order, equal ones too', () => {
    const other = { ...signature, name: 'b' }
    expect(parseNote(text + '\n' + line + formatSignatureLine(other) + line).signatures).toEqual([
      signature,
      other,
      signature,
    ])
  })

  const rejected: Record<string, string | Uint8Array> = {
    empty: '',
    'text-alone': text,
    'no-signatures': text + '\n',
    'no-blank-line': text.replace('\n\n', '\n') + line,
    'no-final-newline': text + '\n' + line.slice(0, -1),
    'trailing-blank-line': text + '\n' + line + '\n',
    'trailing-garbage': text + '\n' + line + 'garbage\n',
    'control-character': 'a\u0001\n\n' + line,
    tab: 'a\tb\n\n' + line,
    'carriage-return': `a\r\n\n${line}`,
    'lone-surrogate': 'a\ud800\n\n' + line,
    'invalid-utf8': new Uint8Array([0xff, ...utf8('a\n\n' + line)]),
    'overlong-utf8': new Uint8Array([0xc0, 0x80, ...utf8('a\n\n' + line)]),
    'hyphen-for-dash': `a\n\n- name ${base64}\n`,
    'dash-without-space': `a\n\n\u2014name ${base64}\n`,
    'empty-name': `a\n\n\u2014  ${base64}\n`,
    'no-name': `a\n\n\u2014 ${base64}\n`,
    'space-in-name': `a\n\n\u2014 na me ${base64}\n`,
    'plus-in-name': `a\n\n\u2014 na+me ${base64}\n`,
    'nbsp-in-name': `a\n\n\u2014 na\u00a0me ${base64}\n`,
    'line-separator-in-name': `a\n\n\u2014 na\u2028me ${base64}\n`,
    'next-line-in-name': `a\n\n\u2014 na\u0085me ${base64}\n`,
    'ideographic-space-in-name': `a\n\n\u2014 na\u3000me ${base64}\n`,
    'two-spaces-before-base64': `a\n\n\u2014 name  ${base64}\n`,
    'space-after-base64': `a\n\n\u2014 name ${base64} \n`,
    'no-base64': 'a\n\n\u2014 name \n',
    'key-id-alone': `a\n\n\u2014 name ${toBase64(new Uint8Array(4))}\n`,
    'short-key-id': `a\n\n\u2014 name ${toBase64(new Uint8Array(3))}\n`,
    'unpadded-base64': `a\n\n\u2014 name ${toBase64(new Uint8Array(5)).replaceAll('=', '')}\n`,
    'stray-bits-in-base64': `a\n\n\u2014 name AAAAAAB=\n`,
    'url-base64': `a\n\n\u2014 name ${'_-_-_-_-'}\n`,
  }
  test.each(Object.entries(rejected))('rejects %s', (_name, note) => {
    expect(codeOf(note)).toBe('ERR_DECODE_NOTE')
  })

  test(`reads ${noteSignaturesMax} signatures and refuses one more`, () => {
    expect(codeOf(text + '\n' + line.repeat(16))).toBe('parsed')
    expect(codeOf(text + '\n' + line.repeat(17))).toBe('ERR_DECODE_LIMIT')
  })

  test('reads 65,536 bytes and refuses one more, counted in UTF-8', () => {
    const fill = (bytes: number) => 'x'.repeat(bytes - utf8('\n\n' + line).length) + '\n\n' + line
    expect(codeOf(fill(65_536))).toBe('parsed')
    expect(codeOf(fill(65_537))).toBe('ERR_DECODE_LIMIT')
    expect(codeOf(utf8(fill(65_537)))).toBe('ERR_DECODE_LIMIT')
    expect(codeOf(fill(65_536).replace('x', 'è'))).toBe('ERR_DECODE_LIMIT')
  })
})

describe('formatNote()', () => {
  test('is what parseNote() reads', () => {
    const note = formatNote(text, [signature])
    expect(note).toBe(text + '\n' + line)
    expect(parseNote(note)).toEqual({ text, signatures: [signature] })
  })

  test('refuses what parseNote() would refuse or read differently', () => {
    expect(() => formatNote('no newline', [signature])).toThrow(RangeError)
    expect(() => formatNote('tab\t\n', [signature])).toThrow(RangeError)
    expect(() => formatNote(text, [])).toThrow(RangeError)
    expect(() =>
      formatNote(
        text,
        Array.from({ length: 17 }, () => signature),
      ),
    ).toThrow(RangeError)
    expect(() => formatNote('x'.repeat(65_536) + '\n', [signature])).toThrow(RangeError)
    expect(() => formatNote(text, [{ ...signature, name: 'x\n\n\u2014 y' }])).toThrow(RangeError)
    expect(() => formatNote(text, [{ ...signature, signature: new Uint8Array(0) }])).toThrow(RangeError)
    expect(() => formatNote(text, [{ ...signature, keyId: '00' }])).toThrow(RangeError)
  })
})
