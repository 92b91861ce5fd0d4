/** Ranges of the numbers that come from outside. */

/** The largest term: the fencing token that the log's storage checks holds 32 bits. */
export const termMax = 0xffff_ffff

/** Whole, from 0, and exact: indexes, times, byte counts. */
export const isCount = (value: number): boolean => Number.isSafeInteger(value) && value >= 0

export const isU32 = (value: number): boolean => isCount(value) && value <= 0xffff_ffff

export const isU16 = (value: number): boolean => isCount(value) && value <= 0xffff

/** A term: from 0, which is before the first election, to {@link termMax}. */
export const isTerm = isU32
