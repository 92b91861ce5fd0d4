import { concatBytes, utf8 } from '@cipherlog/core'
import { describe, expect, it } from 'vitest'
import { type NodeApi } from '../node-api.ts'
import { trailResponse } from './trail-http.ts'

/** As much of a node as the trail needs: files by path. */
function trailOf(files: Readonly<Record<string, Uint8Array>>, bodiesArePublic = true) {
  const asked: string[] = []
  const node: Pick<NodeApi, 'trailFile' | 'bodiesArePublic'> = {
    bodiesArePublic: () => bodiesArePublic,
    trailFile(path) {
      asked.push(path)
      const bytes = files[path]
      return Promise.resolve(
        bytes && {
          size: bytes.length,
          immutable: true,
          read: (start, length) => Promise.resolve(bytes.slice(start, start + length)),
        },
      )
    },
  }
  const get = async (path: string, range?: string) => {
    const { status, headers, body } = await trailResponse(node, path, range)
    const parts: Uint8Array[] = []
    for await (const chunk of body) parts.push(chunk)
    return { status, headers, bytes: concatBytes(...parts) }
  }
  return { get, asked }
}

const digits = utf8('0123456789')

describe('trailResponse()', () => {
  it.each([
    ['checkpoint', 'text/plain; charset=utf-8', 'no-cache'],
    ['checkpoint.witnessed', 'text/plain; charset=utf-8', 'no-cache'],
    ['policy-chain', 'application/cbor', 'no-cache'],
    ['tile/0/000', 'application/octet-stream', 'public, max-age=31536000, immutable'],
    ['tile/1/x001/x234/067.p/8', 'application/octet-stream', 'public, max-age=31536000, immutable'],
    ['tile/entries/000.p/255', 'application/octet-stream', 'public, max-age=31536000, immutable'],
    ['tile/bundle/003', 'application/octet-stream', 'public, max-age=31536000, immutable'],
    ['tile/body/003', 'application/octet-stream', 'no-cache'],
  ])('gives %s as %s, %s', async (path, contentType, cacheControl) => {
    const { get } = trailOf({ [path]: digits })
    const { status, headers, bytes } = await get(path)
    expect([status, bytes]).toEqual([200, digits])
    expect(headers).toMatchObject({
      'content-type': contentType,
      'cache-control': cacheControl,
      'content-length': '10',
    })
  })

  it.each([
    ['bytes=0-3', '0123', 'bytes 0-3/10'],
    ['bytes=4-', '456789', 'bytes 4-9/10'],
    ['bytes=8-99', '89', 'bytes 8-9/10'],
    ['bytes=-3', '789', 'bytes 7-9/10'],
    ['bytes=-99', '0123456789', 'bytes 0-9/10'],
    ['bytes=9-9', '9', 'bytes 9-9/10'],
  ])('answers %s with 206', async (range, text, contentRange) => {
    const { status, headers, bytes } = await trailOf({ 'tile/bundle/000': digits }).get('tile/bundle/000', range)
    expect([status, bytes, headers['content-range']]).toEqual([206, utf8(text), contentRange])
    expect(headers['content-length']).toBe(String(text.length))
  })

  it.each(['bytes=10-', 'bytes=10-20', 'bytes=-0'])('answers %s with 416 and the size', async (range) => {
    const { status, headers, bytes } = await trailOf({ 'tile/bundle/000': digits }).get('tile/bundle/000', range)
    expect([status, headers['content-range'], bytes.length]).toEqual([416, 'bytes */10', 0])
  })

  it.each(['bytes=3-1', 'bytes=-', 'bytes=0-1,3-4', 'lines=0-1', 'bytes=a-b', 'bytes=0x1-2'])(
    'ignores the range %s',
    async (range) => {
      const { status, bytes } = await trailOf({ 'tile/bundle/000': digits }).get('tile/bundle/000', range)
      expect([status, bytes]).toEqual([200, digits])
    },
  )

  it('reads large files in pieces', async () => {
    const large = new Uint8Array(600_001).map((_, i) => i % 251)
    const { bytes } = await trailOf({ 'tile/body/000': large }).get('tile/body/000', 'bytes=1-600000')
    expect(bytes.length).toBe(600_000)
    expect([bytes[0], bytes[262_144], bytes[599_999]]).toEqual([1, 262_145 % 251, 600_000 % 251])
  })

  it('gives bodies only if the trail is public', async () => {
    const { get, asked } = trailOf({ 'tile/body/000': digits }, false)
    expect((await get('tile/body/000')).status).toBe(404)
    expect(asked).toEqual([])
  })

  it('asks for nothing outside the grammar of the trail', async () => {
    const { get, asked } = trailOf({})
    for (const path of [
      '',
      '../keys',
      'tile/../../keys',
      'tile/0/%2e%2e/000',
      'tile/0/000/',
      'tile/0/0',
      'tile/64/000',
      'tile/00/000',
      'tile/0/000.p/0',
      'tile/0/000.p/1000',
      'tile/0/001/x002',
      'tile/bundle/000.p/1',
      'checkpoint\n',
      'tile/0/' + 'x000/'.repeat(7) + '000',
    ]) {
      expect((await get(path)).status, path).toBe(404)
    }
    expect(asked).toEqual([])
    expect((await get('tile/0/001')).status).toBe(404)
    expect(asked).toEqual(['tile/0/001'])
  })
})
