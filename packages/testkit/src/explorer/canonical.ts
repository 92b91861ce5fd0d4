/**
 * A text for plain data that is the same for equal data: object keys sorted, byte arrays left out (here a digest follows
 * from the rest), and sets, which our data writes as arrays, in order.
 */

const idLength = 32
const isId = (value: unknown): boolean => typeof value === 'string' && value.length === idLength

/** True for arrays whose order says nothing: peers, pairs by peer, messages under way. */
function isSet(array: readonly unknown[]): boolean {
  return array.every(
    (item) =>
      isId(item) ||
      (Array.isArray(item) && isId(item[0])) ||
      (typeof item === 'object' && item !== null && 'from' in item && 'to' in item),
  )
}

export function canonical(value: unknown): string {
  if (Array.isArray(value)) {
    const texts = value.map(canonical)
    return `[${(isSet(value) ? texts.sort() : texts).join()}]`
  }
  if (value instanceof Uint8Array) return '0'
  if (typeof value === 'object' && value !== null) {
    const keys = Object.keys(value).sort()
    const fields = value as Readonly<Record<string, unknown>>
    return `{${keys.map((key) => `${key}:${canonical(fields[key])}`).join()}}`
  }
  return String(value)
}

/** `value` with every peer renamed, wherever it stands. */
export function permuted<T>(value: T, renamed: ReadonlyMap<string, string>): T {
  return rename(value) as T

  function rename(part: unknown): unknown {
    if (typeof part === 'string') return renamed.get(part) ?? part
    if (Array.isArray(part)) {
      const items = part.map(rename)
      // As the core keeps them: by peer.
      return isSet(part) && items.every(Array.isArray)
        ? items.sort((a, b) => (String(a[0]) < String(b[0]) ? -1 : 1))
        : items
    }
    if (typeof part !== 'object' || part === null || part instanceof Uint8Array) return part
    return Object.fromEntries(Object.entries(part).map(([key, item]) => [renamed.get(key) ?? key, rename(item)]))
  }
}
