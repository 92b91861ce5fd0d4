/**
 * PADMÉ (Nikitin et al., "Reducing Metadata Leakage from Encrypted Files", PETS 2019, §4): a length keeps only as
 * many significant bits as its exponent needs. It costs at most 12 % and leaks O(log log n) bits of a length.
 */

/** The padded length of `length` bytes. @throws RangeError unless `length` is 0 … 2³¹. */
export function padme(length: number): number {
  if (!Number.isInteger(length) || length < 0 || length > 0x8000_0000)
    throw new RangeError(`cannot pad a length of ${length}`)
  if (length < 2) return length
  const exponent = 31 - Math.clz32(length)
  const exponentBits = 32 - Math.clz32(exponent)
  const unit = 2 ** (exponent - exponentBits)
  return Math.ceil(length / unit) * unit
}
