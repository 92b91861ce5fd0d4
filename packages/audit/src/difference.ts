/** Says in words what a record of the trail has that the rules do not give. */
import { decode, equalBytes, toHex } from '@cipherlog/core'
import { batchRecord, leafKinds, leafRecord, verdictName } from '@cipherlog/format'
import { kindOf } from './leaf-check.ts'

/** @throws {@link DecodeError} if the actual record is none. */
export function describeDifference(expected: Uint8Array, actual: Uint8Array): string {
  const kind = kindOf(actual)
  if ((kind === leafKinds.batchRecord) !== (kindOf(expected) === leafKinds.batchRecord)) {
    return kind === leafKinds.batchRecord
      ? 'A batch record stands where the rules give another leaf.'
      : 'The batch is full, so a batch record must stand here.'
  }
  if (kind === leafKinds.batchRecord) {
    return `The batch record has another ${fieldsThatDiffer(decode(batchRecord, expected), decode(batchRecord, actual))} than the rules give.`
  }
  const [given, recorded] = [decode(leafRecord, expected), decode(leafRecord, actual)]
  const command = (given.verdicts ?? []).findIndex((verdict, i) => verdict !== recorded.verdicts?.[i])
  if (command !== -1 && recorded.verdicts?.length === given.verdicts!.length) {
    const [was, is] = [given.verdicts![command]!, recorded.verdicts[command]!].map(verdictName)
    return `Command ${command} is recorded as ${is}, the rules give ${was}.`
  }
  return `The record has another ${fieldsThatDiffer(given, recorded)} than the rules give.`
}

function fieldsThatDiffer(a: object, b: object): string {
  const [left, right] = [a as Record<string, unknown>, b as Record<string, unknown>]
  const names = [...new Set([...Object.keys(left), ...Object.keys(right)])]
  return names
    .filter((name) => !sameValue(left[name], right[name]))
    .map((name) => `${name} (${show(right[name])}, not ${show(left[name])})`)
    .join(', ')
}

function sameValue(a: unknown, b: unknown): boolean {
  if (a instanceof Uint8Array && b instanceof Uint8Array) return equalBytes(a, b)
  return show(a) === show(b)
}

/** Bytes as hex, at any depth. */
function show(value: unknown): string {
  if (value === undefined) return 'none'
  return JSON.stringify(value, (_, part: unknown) => (part instanceof Uint8Array ? toHex(part) : part)).replaceAll(
    '"',
    '',
  )
}
