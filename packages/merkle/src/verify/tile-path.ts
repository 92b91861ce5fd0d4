/**
 * Paths of the trail's files (https://c2sp.org/tlog-tiles), relative to its root; `bundle` and `body` are our own.
 *
 * Invariant: every file has one path, `formatted(parseTilePath(path)) === path`.
 */
import { DecodeError } from '@cipherlog/core'
import { parseDecimal } from './decimal.ts'

/** Hashes of a full tile, entries of a full entry bundle, leaves of a pack. */
export const tileWidthMax = 256
/** Highest tile level (C2SP); a tree of 2^53 leaves reaches 6. */
export const tileLevelMax = 63

/** What a path leads to. `width` is 1 to 256; 256 is a full tile, whose path has no `.p/`. */
export type TilePath =
  | { readonly kind: 'hashes'; readonly level: number; readonly index: number; readonly width: number }
  | { readonly kind: 'entries'; readonly index: number; readonly width: number }
  | { readonly kind: 'bundle' | 'body'; readonly index: number }

/** `tile/<L>/<N>[.p/<W>]`: the hashes of a tile. @throws RangeError on a level, index or width out of range. */
export function tilePath(level: number, index: number, width: number = tileWidthMax): string {
  if (!Number.isInteger(level) || level < 0 || level > tileLevelMax) throw new RangeError(`no tile level ${level}`)
  return `tile/${level}/${indexPath(index)}${widthPath(width)}`
}

/** `tile/entries/<N>[.p/<W>]`: leaf records. @throws RangeError. */
export function entriesPath(index: number, width: number = tileWidthMax): string {
  return `tile/entries/${indexPath(index)}${widthPath(width)}`
}

/** `tile/bundle/<N>`: the signed bytes of 256 leaves. @throws RangeError. */
export function bundlePath(index: number): string {
  return `tile/bundle/${indexPath(index)}`
}

/** `tile/body/<N>`: the bodies of 256 leaves. @throws RangeError. */
export function bodyPath(index: number): string {
  return `tile/body/${indexPath(index)}`
}

/** Parses a path of one of the kinds above. @throws {@link DecodeError} `ERR_DECODE_TILE_PATH`. */
export function parseTilePath(path: string): TilePath {
  // The longest index has six groups of digits; anything longer is not matched further.
  const match = /^tile\/([a-z]+|0|[1-9][0-9]?)\/((?:x[0-9]{3}\/){0,5}[0-9]{3})(?:\.p\/([1-9][0-9]{0,2}))?$/.exec(path)
  if (match === null) throw malformed(path)
  const [, kind, groups, widthText] = match
  const index = parseDecimal(
    groups!
      .replaceAll('/', '')
      .replaceAll('x', '')
      .replace(/^0+(?=[0-9])/, ''),
  )
  if (index === undefined || indexPath(index) !== groups) throw malformed(path)
  const width = widthText === undefined ? tileWidthMax : Number(widthText)
  if (widthText !== undefined && width >= tileWidthMax) throw malformed(path)
  if (kind === 'bundle' || kind === 'body') {
    if (widthText !== undefined) throw malformed(path)
    return { kind, index }
  }
  if (kind === 'entries') return { kind, index, width }
  const level = parseDecimal(kind!)
  if (level === undefined || level > tileLevelMax) throw malformed(path)
  return { kind: 'hashes', level, index, width }
}

/** Groups of three digits, all but the last prefixed by x. */
function indexPath(index: number): string {
  if (!Number.isSafeInteger(index) || index < 0) throw new RangeError(`no tile index ${index}`)
  let path = String(index % 1000).padStart(3, '0')
  for (let rest = Math.floor(index / 1000); rest > 0; rest = Math.floor(rest / 1000)) {
    path = `x${String(rest % 1000).padStart(3, '0')}/${path}`
  }
  return path
}

function widthPath(width: number): string {
  if (!Number.isInteger(width) || width < 1 || width > tileWidthMax) throw new RangeError(`no tile has width ${width}`)
  return width === tileWidthMax ? '' : `.p/${width}`
}

function malformed(path: string): DecodeError {
  return new DecodeError('ERR_DECODE_TILE_PATH', 'The path is not that of a tile; see c2sp.org/tlog-tiles.', {
    details: { path: path.slice(0, 100) },
  })
}
