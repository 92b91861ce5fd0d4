/** The committed golden vectors are what the code computes, and every decoder keeps to them, the slow twin too. */
import { readFileSync } from 'node:fs'
import { decode, DecodeError, encode, fromHex, toHex } from '@cipherlog/core'
import { describe, expect, it } from 'vitest'
import { goldenFile, jsonOf, mutate, type GoldenFile } from './golden.ts'
import { samples } from './samples.ts'
import { twinDecode } from './slow-twin.ts'

const committed = JSON.parse(readFileSync(new URL('../vectors/formats.json', import.meta.url), 'utf8')) as GoldenFile
const codecs = new Map(samples.map(({ id, codec }) => [id, codec]))

function codeOf(run: () => unknown): string {
  try {
    run()
  } catch (error) {
    expect(error).toBeInstanceOf(DecodeError)
    return (error as DecodeError).code
  }
  return 'accepted'
}

it('the committed vectors are those of this code (else run scripts/golden-vectors.ts and say why in the commit)', () => {
  expect(committed).toEqual(goldenFile())
})

describe.each(committed.vectors)('$name', ({ name, hex, value, invalid }) => {
  const codec = codecs.get(name)!

  it('decodes to its value, and encodes to its bytes again', () => {
    const bytes = fromHex(hex)
    const decoded = decode(codec, bytes)
    expect(jsonOf(decoded)).toEqual(value)
    expect(jsonOf(twinDecode(codec, bytes))).toEqual(value)
    expect(toHex(encode(codec, decoded))).toBe(hex)
  })

  it('is refused when cut anywhere', () => {
    const bytes = fromHex(hex)
    const step = Math.ceil(bytes.length / 2_000)
    for (let length = 0; length < bytes.length; length += step) {
      expect(codeOf(() => decode(codec, bytes.subarray(0, length)))).toBe('ERR_DECODE_TRUNCATED')
    }
  })

  it.each(invalid)('is refused with $name: $error', (mutation) => {
    const bytes = mutate(hex, mutation)
    expect(codeOf(() => decode(codec, bytes))).toBe(mutation.error)
    expect(() => twinDecode(codec, bytes)).toThrow()
  })
})
