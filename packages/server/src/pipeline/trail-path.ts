/** Paths below a trail's root. They come from outside: only this grammar reaches a disk, so no path leaves the root. */

/** Index of a tile: groups of three digits, all but the last with an `x`; 6 groups reach past 2^53. */
const index = '(?:x\\d{3}/){0,6}\\d{3}'
const pathPattern = new RegExp(
  `^(?:checkpoint|checkpoint\\.witnessed|policy-chain|tile/(?:\\d|[1-5]\\d|6[0-3]|entries)/${index}(?:\\.p/(?:[1-9]\\d{0,2}))?|tile/(?:bundle|body)/${index})$`,
)

export function isTrailPath(path: string): boolean {
  return pathPattern.test(path)
}
