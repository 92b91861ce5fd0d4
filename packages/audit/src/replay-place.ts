/** Where an entry may stand: log index and log time are taken from its record, so they are checked by themselves. */
import { type EntryPlace } from '@cipherlog/machine'
import { LeafProblem } from './leaf-problem.ts'

/** Every leaf that was not made by rule is an entry of its own: its log index is new, and its time is not earlier. */
export function placeOf(
  before: { readonly appliedIndex: number; readonly logTime: number },
  { logIndex, logTime }: EntryPlace,
): EntryPlace {
  if (logIndex <= before.appliedIndex)
    throw new LeafProblem(`Log index ${logIndex} does not follow ${before.appliedIndex}.`)
  if (logTime < before.logTime) throw new LeafProblem(`Log time goes back from ${before.logTime} to ${logTime}.`)
  return { logIndex, logTime }
}
