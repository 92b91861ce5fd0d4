/**
 * Every exported codec of packages/format, on random values, on random mutations of valid encodings and on random
 * bytes, against the slow twin. A failure prints the seed; CIPHERLOG_SEED replays it, CIPHERLOG_RUNS runs longer.
 */
import { type Codec, decode, DecodeError, encode, toHex } from '@cipherlog/core'
import fc from 'fast-check'
import { afterAll, describe, expect, it } from 'vitest'
import { arbitraryOf, itemMutationOf, mutationOf } from './arbitrary.ts'
import { catalog, isCompound } from './catalog.ts'
import { samples } from './samples.ts'
import { twinDecode, twinEncode } from './slow-twin.ts'

const seed = Number(process.env['CIPHERLOG_SEED'] ?? Date.now() % 0x7fff_ffff)
const numRuns = Number(process.env['CIPHERLOG_RUNS'] ?? 25)
console.log(`formats: CIPHERLOG_SEED=${seed} CIPHERLOG_RUNS=${numRuns}`)

/** What came of decoding: a value or a DecodeError; anything else thrown is a bug and passes through. */
function outcome<T>(codec: Codec<T>, bytes: Uint8Array): { value: T } | DecodeError {
  try {
    return { value: decode(codec, bytes) }
  } catch (error) {
    if (error instanceof DecodeError) return error
    throw error
  }
}

function twinAccepts<T>(codec: Codec<T>, bytes: Uint8Array): { value: T } | undefined {
  try {
    return { value: twinDecode(codec, bytes) }
  } catch {
    // cbor2 and the twin's own checks throw plain errors of many kinds: all of them mean "refused".
    return undefined
  }
}

const mutated = { accepted: 0, refused: 0 }

/** Accepted bytes are the one valid encoding of what they say, and both readers agree on which bytes those are. */
function checkBytes(codec: Codec<unknown>, bytes: Uint8Array): void {
  const ours = outcome(codec, bytes)
  const twin = twinAccepts(codec, bytes)
  if (ours instanceof DecodeError) {
    mutated.refused++
    expect(ours.code).toMatch(/^ERR_DECODE_[A-Z_]+$/)
    expect(twin, `only the twin accepts ${toHex(bytes)}: ${ours.message}`).toBeUndefined()
  } else {
    mutated.accepted++
    expect(twin, `only we accept ${toHex(bytes)}`).toEqual(ours)
    expect(toHex(encode(codec, ours.value))).toBe(toHex(bytes))
  }
}

describe('the catalogue', () => {
  it('finds the codecs of every format file', () => {
    expect(catalog.length).toBeGreaterThan(70)
    expect(new Set(catalog.map(({ id }) => id)).size).toBe(catalog.length)
  })

  it('has a fixed sample of every codec with a layout, and of every case of a choice', () => {
    const sampled = (id: string) => samples.some((sample) => sample.id === id || sample.id.startsWith(`${id}/`))
    const expected = catalog
      .filter(({ codec }) => isCompound(codec))
      .flatMap(({ id, codec }) =>
        codec.shape.kind === 'choice' ? codec.shape.cases.map(({ name }) => `${id}/${name}`) : [id],
      )
    expect(expected.filter((id) => !sampled(id))).toEqual([])
  })
})

describe.each(catalog)('$id', ({ codec }) => {
  const values = arbitraryOf(codec)
  // Long strings add time to mutations and nothing to find.
  const handy = values.filter((value) => encode(codec, value).length <= 20_000)

  it('encodes what it decodes, in the bytes of the slow twin', () => {
    fc.assert(
      fc.property(values, (value) => {
        const bytes = encode(codec, value)
        expect(decode(codec, bytes)).toStrictEqual(value)
        expect(toHex(bytes)).toBe(toHex(twinEncode(codec, value)))
        expect(twinDecode(codec, bytes)).toEqual(value)
      }),
      { seed, numRuns },
    )
  })

  it('accepts of mutated encodings only those that it would write itself', () => {
    const mutations = mutationOf(handy.map((value) => encode(codec, value)))
    fc.assert(
      fc.property(mutations, (bytes) => checkBytes(codec, bytes)),
      { seed, numRuns: numRuns * 2 },
    )
  })

  it('accepts of encodings with one item changed only those that it would write itself', () => {
    fc.assert(
      fc.property(itemMutationOf(codec, handy), (bytes) => checkBytes(codec, bytes)),
      { seed, numRuns: numRuns * 2 },
    )
  })

  it('answers random bytes with a typed error or a value', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => checkBytes(codec, bytes)),
      { seed, numRuns },
    )
  })
})

afterAll(() => {
  // Both outcomes must occur often, or the mutations test nothing.
  expect(mutated.accepted).toBeGreaterThan(catalog.length)
  expect(mutated.refused).toBeGreaterThan(catalog.length)
})
