import { concatBytes, emptyBytes, errorCode, fromHex, type Random, systemRandom, toHex, utf8 } from '@cipherlog/core'
import { describe, expect, test } from 'vitest'
import { sha256Of } from '../hash/index.ts'
import { generateReaderKey, openFromSender, readerKeyId, sealToReader } from './index.ts'

const info = utf8('info')
const plaintext = new Uint8Array(32).fill(9)
const pair = await generateReaderKey(systemRandom)
const sealed = await sealToReader({ publicKey: pair.publicKey, info, plaintext })
const codeOf = (opening: Promise<unknown>) => opening.then(() => undefined, errorCode)

describe('HPKE with X-Wing', () => {
  test('draft-connolly-cfrg-xwing-kem: the first test vector expands its seed to its public key', async () => {
    const seed = fromHex('7f9c2ba4e88f827d616045507605853ed73b8093f6efbc88eb1a6eacfa66ef26')
    const random: Random = { bytes: () => seed.slice() }
    const { secretKey, publicKey } = await generateReaderKey(random)
    expect(secretKey).toEqual(seed)
    expect(publicKey).toHaveLength(1216)
    expect(toHex(publicKey.subarray(0, 16))).toBe('e2236b35a8c24b39b10aa1323a96a919')
    expect(toHex(publicKey.subarray(1184))).toBe('859edb06eff389b27dce59844570216223593d4ba32d9abac8cd049040ef6534')
  })

  test('round trip: 1,120 bytes of enc, 16 bytes more of ciphertext', async () => {
    expect(sealed.enc).toHaveLength(1120)
    expect(sealed.ciphertext).toHaveLength(48)
    expect(await openFromSender({ secretKey: pair.secretKey, info, ...sealed })).toEqual(plaintext)
  })

  test('takes views into larger memory, and Buffers', async () => {
    const shift = (bytes: Uint8Array) => Buffer.from(concatBytes(new Uint8Array(5), bytes)).subarray(5)
    const again = await sealToReader({
      publicKey: shift(pair.publicKey),
      info: shift(info),
      plaintext: shift(plaintext),
    })
    const opened = await openFromSender({
      secretKey: shift(pair.secretKey),
      info: shift(info),
      enc: shift(again.enc),
      ciphertext: shift(again.ciphertext),
    })
    expect(opened).toEqual(plaintext)
  })

  test('any tampering is ERR_OPEN_FAILED without detail', async () => {
    const flip = (bytes: Uint8Array, at: number) => {
      const bad = bytes.slice()
      bad[at]! ^= 1
      return bad
    }
    const good = { secretKey: pair.secretKey, info, ...sealed }
    const stranger = await generateReaderKey(systemRandom)
    for (const bad of [
      { ...good, info: emptyBytes },
      { ...good, secretKey: stranger.secretKey },
      { ...good, ciphertext: flip(sealed.ciphertext, 0) },
      { ...good, ciphertext: flip(sealed.ciphertext, 47) },
      { ...good, ciphertext: emptyBytes },
      { ...good, enc: flip(sealed.enc, 0) },
      { ...good, enc: flip(sealed.enc, 1119) },
      { ...good, enc: sealed.enc.subarray(1) },
      { ...good, enc: concatBytes(sealed.enc.subarray(0, 1088), new Uint8Array(32)) },
    ]) {
      expect(await codeOf(openFromSender(bad))).toBe('ERR_OPEN_FAILED')
    }
    const failure: unknown = await openFromSender({ ...good, info: emptyBytes }).catch((error: unknown) => error)
    expect((failure as Error).cause).toBeUndefined()
  })

  test('two seals to one reader share neither enc nor ciphertext', async () => {
    const again = await sealToReader({ publicKey: pair.publicKey, info, plaintext })
    expect(again.enc).not.toEqual(sealed.enc)
    expect(again.ciphertext).not.toEqual(sealed.ciphertext)
  })

  test('keys of another length are RangeErrors', async () => {
    await expect(sealToReader({ publicKey: new Uint8Array(1215), info, plaintext })).rejects.toThrow(RangeError)
    await expect(openFromSender({ secretKey: new Uint8Array(31), info, ...sealed })).rejects.toThrow(RangeError)
  })

  test('readerKeyId() is the labelled hash of the public key', () => {
    expect(readerKeyId(pair.publicKey)).toEqual(sha256Of(utf8('cipherlog/v1/reader-key\0'), pair.publicKey))
  })
})
