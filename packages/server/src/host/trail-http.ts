/**
 * The trail as plain files over HTTP: C2SP tlog-tiles (https://c2sp.org/tlog-tiles) with its content types and
 * caching, and our growing files (`tile/bundle`, `tile/body`) with range requests (RFC 9110 §14).
 *
 * The path is attacker-controlled: only the grammar of the trail gets past this file, so no path can leave its root.
 */
import { type NodeApi, type TrailFile } from '../node-api.ts'
import { isTrailPath } from '../pipeline/trail-path.ts'

/** Read from disk at once; a slow reader holds no more than this. */
const chunkBytes = 262_144

/** What a response needs, without HTTP/1.1 or HTTP/2 in it. */
export interface TrailResponse {
  readonly status: number
  readonly headers: Readonly<Record<string, string>>
  readonly body: AsyncIterable<Uint8Array>
}

/**
 * @param path - what follows `/trail/`, not decoded: the grammar needs no escapes.
 * @param range - the Range header, if any.
 */
export async function trailResponse(
  node: Pick<NodeApi, 'trailFile' | 'bodiesArePublic'>,
  path: string,
  range: string | undefined,
): Promise<TrailResponse> {
  const isBody = path.startsWith('tile/body/')
  if (!isTrailPath(path) || (isBody && !node.bodiesArePublic())) return notFound
  const file = await node.trailFile(path)
  if (file === undefined) return notFound
  const headers: Record<string, string> = {
    'content-type': contentType(path),
    // Bodies can be erased in place, checkpoints are replaced.
    'cache-control':
      file.immutable && path.startsWith('tile/') && !isBody ? 'public, max-age=31536000, immutable' : 'no-cache',
    'accept-ranges': 'bytes',
  }
  const part = range === undefined ? undefined : parseRange(range, file.size)
  if (part === 'unsatisfiable') {
    return { status: 416, headers: { ...headers, 'content-range': `bytes */${file.size}` }, body: none() }
  }
  const { start, length } = part ?? { start: 0, length: file.size }
  headers['content-length'] = String(length)
  if (part === undefined) return { status: 200, headers, body: chunks(file, start, length) }
  headers['content-range'] = `bytes ${start}-${start + length - 1}/${file.size}`
  return { status: 206, headers, body: chunks(file, start, length) }
}

const notFound: TrailResponse = { status: 404, headers: { 'cache-control': 'no-cache' }, body: none() }

function contentType(path: string): string {
  if (path.startsWith('checkpoint')) return 'text/plain; charset=utf-8'
  return path === 'policy-chain' ? 'application/cbor' : 'application/octet-stream'
}

/**
 * One range of bytes. Undefined for what a server may ignore: other units, several ranges, no valid range.
 */
function parseRange(
  header: string,
  size: number,
): { readonly start: number; readonly length: number } | 'unsatisfiable' | undefined {
  const match = /^bytes=(\d{0,15})-(\d{0,15})$/.exec(header)
  if (match === null) return undefined
  const [, first, last] = match
  if (first === '') {
    if (last === '') return undefined
    const length = Math.min(Number(last), size)
    return length === 0 ? 'unsatisfiable' : { start: size - length, length }
  }
  const start = Number(first)
  const end = last === '' ? size - 1 : Math.min(Number(last), size - 1)
  if (last !== '' && Number(last) < start) return undefined
  return start >= size ? 'unsatisfiable' : { start, length: end - start + 1 }
}

async function* chunks(file: TrailFile, start: number, length: number): AsyncIterable<Uint8Array> {
  for (let at = 0; at < length; at += chunkBytes) {
    yield await file.read(start + at, Math.min(chunkBytes, length - at))
  }
}

async function* none(): AsyncIterable<Uint8Array> {}
