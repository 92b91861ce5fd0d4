/** Bytes as attackers leave them. */

/** A copy whose last byte has one bit flipped. */
export function flipped(bytes: Uint8Array): Uint8Array {
  const copy = bytes.slice()
  copy[copy.length - 1]! ^= 1
  return copy
}

/** So many bytes of nothing in particular. */
export function anyBytes(length: number): Uint8Array {
  return new Uint8Array(length).fill(0x5a)
}
