/** The decimals of checkpoints, proofs and paths: ASCII digits, no sign, no leading zero, at most 2^53−1. */

/** The number, or undefined if `text` is not the one spelling of it. */
export function parseDecimal(text: string): number | undefined {
  if (!/^(?:0|[1-9][0-9]{0,15})$/.test(text)) return undefined
  const value = Number(text)
  return Number.isSafeInteger(value) ? value : undefined
}

/** The spelling that {@link parseDecimal} accepts. @throws RangeError unless `value` is a safe non-negative integer. */
export function formatDecimal(value: number): string {
  if (!isCount(value)) throw new RangeError(`expected a safe non-negative integer, not ${value}`)
  return String(value)
}

/** Whether `value` is a safe non-negative integer. */
export function isCount(value: number): boolean {
  return Number.isSafeInteger(value) && value >= 0
}
